"""Random values of records: valid events that were changed, nested, repeated, cut and damaged."""

import json
from collections.abc import Callable
from random import Random

from clickstream.model.events import OTHER_NAMES, RECORD_FIELDS, REQUIRED_FIELDS

LARGEST_BYTES = 1 << 20
# One large input takes as long as a thousand small ones.
LARGE_SHARE = 1 / 10_000
NAMES = [*RECORD_FIELDS, *(name for names in OTHER_NAMES.values() for name in names), "properties"]
VALID = {
    "event_id": '"018f3f5e-7b3a-7c11-9a53-0d2f6f3b9c01"',
    "event_type": '"page_view"',
    "timestamp": '"2024-05-01T12:00:00.123456Z"',
    "user_id": '"user-1"',
}
# Characters that control terminals and logs, that UTF-8 or jsonb cannot hold, and others.
CHARACTERS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA1)),
    *("\ud800", "\udfff", "\u202e", "\u2066", "\u2028", "\u2029", "\ufeff", "\ufffd", "\U0001f600"),
    *"\"\\/<>&%$;:'`{}[]()= .-+eE0123456789abcdefXYZ",
]
TEXTS = [
    *("", " ", "null", "undefined", "true", "TRUE", "1", "-7", "2.50", "1e5", "1e99999", "NaN"),
    *("::1", "1.2.3.4:5", "fe80::1%eth0", "1.2.3.4, 5.6.7.8", "999.1.1.1"),
    *("2024-05-01", "20240501", "2024-05-01T24:00:00Z", "9999-12-31T23:59:59.9999999999+18:00"),
    *("2024-02-30T00:00:00Z", "1714564800", "1714564800123456789", "0001-01-01", "12:00"),
    *("\x1b[2J\x1b]0;owned\x07", "x\r\n2025-06-02T10:00:00+0000 ERROR forged", "\\N", "\\."),
    *("</script><img src=x onerror=alert(1)>", "'; DROP TABLE clickstream_events; --", "%s{0}$1"),
]
NUMBERS = [
    *("0", "-0", "00", "1", "-1", "42.0", "0.1", "1e5", "1E+400", "-1e-400", "1714564800", "NaN"),
    *("Infinity", "-Infinity", "1" * 30, "9" * 400, "0." + "9" * 60, "1.", ".5", "+1", "0x10"),
    *("99999999999", "1714564800123", "1e308", "12345678901.5", "10000000000.00005", "1e-7"),
]
OTHERS = ["null", "true", "false", "[]", "{}", "tru", "", "undefined", "'x'", '"\\x"', '"\\ud83d"']


def random_value(chance: Random) -> bytes | None:
    """Return the value of a record."""
    if chance.random() < LARGE_SHARE:
        return chance.choice(LARGE)(chance)[:LARGEST_BYTES]
    if chance.random() < 0.002:
        return None
    value = _random_object(chance).encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        value = (
            chance.choice([b"\xef\xbb\xbf", b"\0\0\0\0\x07", b"\0", b" \n", b"\xff\xfe"]) + value
        )
    return _damaged(value, chance) if chance.random() < 0.25 else value


def _random_object(chance: Random) -> str:
    fields = list(VALID.items())
    number = chance.choice([0, 1, 1, 2, 3, 6])
    fields += [(_random_name(chance), _random_json(chance, 4)) for _ in range(number)]
    if chance.random() < 0.2:
        fields.pop(chance.randrange(len(fields)))
    if chance.random() < 0.2:
        chance.shuffle(fields)
    texts = [f"{_quoted(name, chance)}: {text}" for name, text in fields]
    whole = "{" + ", ".join(texts) + "}"
    return (
        whole if chance.random() < 0.97 else chance.choice([f"[{whole}]", _quoted(whole, chance)])
    )


def _random_name(chance: Random) -> str:
    if chance.random() < 0.3:
        return chance.choice(REQUIRED_FIELDS)
    return chance.choice(NAMES) if chance.random() < 0.7 else _random_text(chance)


def _random_json(chance: Random, levels: int) -> str:
    kind = chance.random()
    if kind < 0.45:
        return _quoted(_random_text(chance), chance)
    if kind < 0.7:
        return chance.choice(NUMBERS)
    if kind < 0.8 or not levels:
        return chance.choice(OTHERS)
    inner = [_random_json(chance, levels - 1) for _ in range(chance.randrange(4))]
    if kind < 0.9:
        return f"[{', '.join(inner)}]"
    names = (_quoted(_random_name(chance), chance) for _ in inner)
    return "{" + ", ".join(f"{n}: {text}" for n, text in zip(names, inner, strict=True)) + "}"


def _random_text(chance: Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(TEXTS)
    length = chance.choice([1, 2, 5, 20, 300])
    return "".join(chance.choices(CHARACTERS, k=length))


def _quoted(text: str, chance: Random) -> str:
    """Return JSON text; a tenth of it has its control characters unescaped."""
    if chance.random() < 0.1:
        return f'"{text}"'
    return json.dumps(text, ensure_ascii=chance.random() < 0.5)


def _damaged(value: bytes, chance: Random) -> bytes:
    damaged = bytearray(value)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            damaged[at : at + 1] = chance.randbytes(1)
        elif kind == 1:
            damaged[at:at] = chance.randbytes(chance.choice([1, 4]))
        elif kind == 2:
            del damaged[at : at + chance.choice([1, 8, 10_000])]
        else:
            damaged[at:at] = damaged[at : at + 40]
    return bytes(damaged)


# == Large inputs ===============================================================================


def _with(name: str, text: str) -> bytes:
    fields = VALID | {name: text}
    return ("{" + ", ".join(f'"{n}": {t}' for n, t in fields.items()) + "}").encode(
        "utf-8", "surrogatepass"
    )


def _nested(chance: Random) -> bytes:
    levels = chance.choice([200, 253, 254, 255, 1_000, 100_000, 500_000])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    return _with("extra", opening * levels + "1" + closing * levels)


def _long_text(chance: Random) -> bytes:
    part = chance.choice(["x", "\\u0000", "\\ud800", "\ud800", "\\\\", "\U0001f600", "\\n", "9"])
    number = 1_000_000 // len(part.encode("utf-8", "surrogatepass"))
    return _with(chance.choice(NAMES), f'"{part * number}"')


def _long_number(chance: Random) -> bytes:
    digits = "9" * chance.choice([4_300, 4_301, 100_000, 1_000_000])
    return _with(
        chance.choice(NAMES), chance.choice([digits, f"-{digits}", f"0.{digits}", f"1e{digits}"])
    )


def _many_keys(chance: Random) -> bytes:
    number = 100_000
    name = chance.choice(["k{}", "user_id", "extra", "\x7f", "\\ud800{}", "timestamp"])
    return _with("k", "0, " + ", ".join(f'"{name.format(n)}": 1' for n in range(number)))


def _many_values(chance: Random) -> bytes:
    value = chance.choice(["1", "NaN", '""', "1e999"])
    return _with("extra", f"[{','.join([value] * 200_000)}]")


def _noise(chance: Random) -> bytes:
    return chance.randbytes(LARGEST_BYTES)


LARGE: list[Callable[[Random], bytes]] = [
    _nested,
    _long_text,
    _long_number,
    _many_keys,
    _many_values,
    _noise,
]
