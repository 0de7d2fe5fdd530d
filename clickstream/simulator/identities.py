"""The simulated visitors, each with a device, a town and a network that stay the same.

Visitor 17 is the same in every run, with any seed. Faker gives a few hundred towns and networks
once; a hash of the visitor's number chooses among them when a visit begins. So a population of
millions needs no memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from random import Random
from typing import NamedTuple, TypeVar

import orjson
from faker import Faker

T = TypeVar("T")

TOWNS_PER_COUNTRY = 40
NETWORKS = 200
OTHER_DEVICE_PROBABILITY = 0.12
# One of this many visitors is a bot.
VISITORS_PER_BOT = 64
# One of this many visitors is the second device of the visitor before: same account, another id.
VISITORS_PER_SECOND_DEVICE = 5
# The share of the people whose tracker measures the engaged time; the others send none.
MEASURED_ENGAGEMENT = 0.7
POPULATION_SEED = 1

# Country, locale, weight.
COUNTRY_WEIGHTS = (
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

# Real user agents of 2025; browsers freeze the platform part.
KNOWN_DEVICES = (
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
DEVICES_BY_WEIGHT = tuple(
    device
    for device, weight in zip(KNOWN_DEVICES, DEVICE_WEIGHTS, strict=True)
    for _ in range(weight)
)

# Bots that run the scripts of pages, with their own user agents.
_GOOGLEBOT = "Googlebot/2.1; +http://www.google.com/bot.html"
BOTS = (
    Device(
        "mobile",
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like "
        f"Gecko) Chrome/138.0.7204.92 Mobile Safari/537.36 (compatible; {_GOOGLEBOT})",
        "412x732",
    ),
    Device(
        "desktop",
        f"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; {_GOOGLEBOT}) "
        "Chrome/138.0.7204.92 Safari/537.36",
        "1024x1024",
    ),
    Device(
        "desktop",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
        "+http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36",
        "1024x1024",
    ),
    Device(
        "desktop",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "800x600",
    ),
    Device(
        "desktop",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; "
        "+https://openai.com/gptbot)",
        "1280x720",
    ),
    Device(
        "desktop",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "HeadlessChrome/138.0.0.0 Safari/537.36",
        "800x600",
    ),
)
BOT_USER_AGENTS = frozenset(bot.user_agent for bot in BOTS)


class Home(NamedTuple):
    """The town of a visitor and the language setting of the browser."""

    country: str
    city: str
    locale: str


class SimulatedVisitor(NamedTuple):
    """One visitor. clock_error: microseconds by which the visitor's clock is ahead.

    account_id: the account that the visitor logs in to; two devices of one person share it.
    measures_engagement: True if events tell how long the page was in use.
    """

    number: int
    user_id: str
    usual_device: Device
    other_device: Device
    home: Home
    network: str
    clock_error: int
    is_bot: bool
    account_id: str
    measures_engagement: bool

    def json_endings(self, rng: Random) -> tuple[bytes, bytes]:
        """Return the last part of the JSON of this visit's events: page views, all others.

        It is built once per visit because it is long and the same in each event.
        """
        unusual = rng.random() < OTHER_DEVICE_PROBABILITY
        device = self.other_device if unusual else self.usual_device
        fields = {
            "user_id": self.user_id,
            "user_agent": device.user_agent,
            "ip_address": f"{self.network}.{rng.randint(1, 254)}",
            "device_type": device.device_type,
            "country": self.home.country,
            "city": self.home.city,
            "visit_id": f"{rng.getrandbits(64):016x}",
        }
        page_view_fields = {"viewport_size": device.viewport_size, "locale": self.home.locale}
        return b"," + orjson.dumps(fields | page_view_fields)[1:], b"," + orjson.dumps(fields)[1:]


class Identities:
    """All simulated visitors, by number.

    skew: each visitor's clock is wrong by up to this many microseconds, ahead or behind.
    """

    def __init__(self, *, skew: int = 0) -> None:
        self._clock_errors = range(-skew, skew + 1)
        self._networks = _networks()
        self._homes = _homes()

    def visitor(self, number: int) -> SimulatedVisitor:
        """Return the visitor with this number, the same one each time."""
        # Creating a seeded Random takes four times as long as all these draws together.
        chance = int.from_bytes(blake2b(b"%d" % number, digest_size=24).digest(), "big")
        chance, home = _draw(chance, self._homes)
        chance, usual_device = _draw(chance, DEVICES_BY_WEIGHT)
        chance, other_device = _draw(chance, DEVICES_BY_WEIGHT)
        chance, network = _draw(chance, self._networks)
        chance, clock_error = _draw(chance, self._clock_errors)
        chance, bot_number = _draw(chance, range(VISITORS_PER_BOT))
        is_bot = bot_number == 0
        if is_bot:
            chance, usual_device = _draw(chance, BOTS)
            other_device = usual_device
        _, percentage = _draw(chance, range(100))
        is_second = number % VISITORS_PER_SECOND_DEVICE == VISITORS_PER_SECOND_DEVICE - 1
        return SimulatedVisitor(
            number,
            f"user-{number:06d}",
            usual_device,
            other_device,
            home,
            network,
            clock_error,
            is_bot,
            account_id=f"account-{number - is_second:06d}",
            measures_engagement=not is_bot and percentage < 100 * MEASURED_ENGAGEMENT,
        )


def _draw(chance: int, items: Sequence[T]) -> tuple[int, T]:
    """Return the rest of a large random number for the next draw, and one of the items."""
    left, index = divmod(chance, len(items))
    return left, items[index]


@cache
def _homes() -> tuple[Home, ...]:
    """Return the towns of all countries, each repeated by its country's weight."""
    return tuple(
        Home(country, town, locale.replace("_", "-"))
        for country, locale, weight in COUNTRY_WEIGHTS
        for town in _towns(locale)
        for _ in range(weight)
    )


def _towns(locale: str) -> list[str]:
    faker = _faker(locale, "address", "person")
    return [faker.city() for _ in range(TOWNS_PER_COUNTRY)]


@cache
def _networks() -> list[str]:
    """Return public networks of 256 addresses, each as its first three numbers."""
    faker = _faker("en_US", "internet")
    return [faker.ipv4_public().rpartition(".")[0] for _ in range(NETWORKS)]


def _faker(locale: str, *providers: str) -> Faker:
    """Return a Faker with only these providers: all of them take 0.2 s to load."""
    faker = Faker(locale, providers=[f"faker.providers.{name}" for name in providers])
    faker.seed_instance(POPULATION_SEED)
    return faker
