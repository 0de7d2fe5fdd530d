"""Who visits: a population whose members keep their device, town and network.

Visitor 17 is the same in every run, whatever the seed: only a handful of towns and networks are
drawn from Faker, once, and each visitor is picked out of them when a visit begins. A population
of millions costs no memory.
"""

from dataclasses import dataclass
from functools import cache
from random import Random

import orjson
from faker import Faker

TOWNS_PER_COUNTRY = 40
NETWORKS = 200
SECOND_DEVICE_PROBABILITY = 0.12
POPULATION_SEED = 1

# Country, locale, weight.
COUNTRIES = (
    ("US", "en_US", 30),
    ("GB", "en_GB", 12),
    ("DE", "de_DE", 12),
    ("FR", "fr_FR", 9),
    ("IN", "en_IN", 8),
    ("BR", "pt_BR", 7),
    ("ES", "es_ES", 6),
    ("JP", "ja_JP", 6),
    ("NL", "nl_NL", 5),
    ("SE", "sv_SE", 5),
)
COUNTRY_WEIGHTS = tuple(weight for _, _, weight in COUNTRIES)


@dataclass(frozen=True, slots=True)
class Device:
    """A browser on a device. viewport_size: width x height in CSS pixels."""

    device_type: str
    user_agent: str
    viewport_size: str


_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
_IPAD = "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X)"

# Browsers as they announce themselves today, with frozen platform tokens.
DEVICES = (
    Device("desktop", f"{_WINDOWS}) {_WEBKIT} Chrome/138.0.0.0 Safari/537.36", "1920x1080"),
    Device("desktop", f"{_WINDOWS}) {_WEBKIT} Chrome/138.0.0.0 Safari/537.36", "1536x864"),
    Device("desktop", f"{_WINDOWS}) {_WEBKIT} Chrome/137.0.0.0 Safari/537.36", "1366x768"),
    Device(
        "desktop",
        f"{_WINDOWS}) {_WEBKIT} Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
        "1920x1080",
    ),
    Device("desktop", f"{_WINDOWS}; rv:140.0) Gecko/20100101 Firefox/140.0", "1920x1080"),
    Device("desktop", f"{_MAC} {_WEBKIT} Chrome/138.0.0.0 Safari/537.36", "1728x1117"),
    Device("desktop", f"{_MAC} {_SAFARI} Version/18.5 Safari/605.1.15", "1440x900"),
    Device(
        "desktop",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "1920x1200",
    ),
    Device("mobile", f"{_ANDROID} {_WEBKIT} Chrome/138.0.0.0 Mobile Safari/537.36", "412x915"),
    Device("mobile", f"{_ANDROID} {_WEBKIT} Chrome/137.0.0.0 Mobile Safari/537.36", "360x800"),
    Device(
        "mobile",
        f"{_ANDROID} {_WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        "384x854",
    ),
    Device("mobile", f"{_IPHONE} {_SAFARI} Version/18.5 Mobile/15E148 Safari/604.1", "393x852"),
    Device("mobile", f"{_IPHONE} {_SAFARI} Version/18.4 Mobile/15E148 Safari/604.1", "390x844"),
    Device("tablet", f"{_IPAD} {_SAFARI} Version/18.5 Mobile/15E148 Safari/604.1", "820x1180"),
    Device("tablet", f"{_ANDROID} {_WEBKIT} Chrome/138.0.0.0 Safari/537.36", "800x1280"),
)
DEVICE_WEIGHTS = (9, 6, 5, 6, 3, 6, 5, 2, 18, 9, 5, 14, 6, 4, 2)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A member of the population. clock_error: microseconds that the visitor's clock is ahead."""

    number: int
    user_id: str
    devices: tuple[Device, Device]
    country: str
    city: str
    locale: str
    network: str
    clock_error: int

    def shown(self, rng: Random) -> tuple[bytes, bytes]:
        """How the JSON of an event ends in one visit: of page views, and of all others.

        Made once per visit, as the text is long and the same for each event.
        """
        device = self.devices[rng.random() < SECOND_DEVICE_PROBABILITY]
        fields = {
            "user_id": self.user_id,
            "user_agent": device.user_agent,
            "ip_address": f"{self.network}.{rng.randint(1, 254)}",
            "device_type": device.device_type,
            "country": self.country,
            "city": self.city,
            "visit_id": f"{rng.getrandbits(64):016x}",
        }
        of_the_page = {"viewport_size": device.viewport_size, "locale": self.locale}
        return b"," + orjson.dumps(fields | of_the_page)[1:], b"," + orjson.dumps(fields)[1:]


class Identities:
    """The population.

    skew: each visitor's clock is wrong by up to this many microseconds, ahead or behind.
    """

    def __init__(self, *, skew: int = 0) -> None:
        self._skew = skew
        self._networks = _networks()
        self._towns = {country: _towns(locale) for country, locale, _ in COUNTRIES}

    def visitor(self, number: int) -> Visitor:
        """The visitor of that number, always the same."""
        rng = Random(number)
        country, locale, _ = rng.choices(COUNTRIES, COUNTRY_WEIGHTS)[0]
        usual, other = rng.choices(DEVICES, DEVICE_WEIGHTS, k=2)
        return Visitor(
            number=number,
            user_id=f"user-{number:06d}",
            devices=(usual, other),
            country=country,
            city=rng.choice(self._towns[country]),
            locale=locale.replace("_", "-"),
            network=rng.choice(self._networks),
            clock_error=rng.randint(-self._skew, self._skew),
        )


@cache
def _towns(locale: str) -> list[str]:
    faker = _faker(locale)
    return [faker.city() for _ in range(TOWNS_PER_COUNTRY)]


@cache
def _networks() -> list[str]:
    """Public networks of 256 addresses, as the first three numbers."""
    faker = _faker("en_US")
    return [faker.ipv4_public().rpartition(".")[0] for _ in range(NETWORKS)]


def _faker(locale: str) -> Faker:
    faker = Faker(locale)
    faker.seed_instance(POPULATION_SEED)
    return faker
