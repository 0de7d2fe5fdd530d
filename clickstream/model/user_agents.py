"""Reading a user-agent text: browser, operating system, device type, and whether it is a bot.

The rules come from ua-parser (browser, operating system, spiders), from crawler-user-agents (bots)
and from this module. Reading takes time linear in the length of a text, whatever is in it.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import ua_parser
from ua_parser import OS, Domain, Resolver, UserAgent

from clickstream.model.listed_bots import ListedBots

# Raise this number when a rule in this module changes.
OWN_RULES_VERSION = 1
# The device family that ua-parser gives to bots.
SPIDER = "Spider"
# A pattern can match nearly the whole text.
MAX_NAME_CHARACTERS = 100
# Crawlers name a page about themselves: "(+https://example.com/bot)".
CONTACT = re.compile(r"\+ ?(https?://[^\s;,()]{1,200})")
# The first one that is found decides.
DEVICE_TYPES = (
    ("console", re.compile("PlayStation|Xbox|Nintendo")),
    (
        "tv",
        re.compile(
            r"\bTV\b|SmartTV|SMART-TV|HbbTV|Apple ?TV|GoogleTV|Android TV|CrKey|Roku|BRAVIA|"
            r"\bAFT[A-Z]|Web0S|NetCast|MiTV"
        ),
    ),
    ("tablet", re.compile(r"iPad|Tablet(?! PC)|Kindle|\bKF[A-Z]{2}|PlayBook")),
    ("mobile", re.compile("Mobi|iPhone|iPod|Windows Phone|BlackBerry|Opera Mini|Symbian|KAIOS")),
    ("tablet", re.compile("Android")),  # on phones, browsers also say Mobile
    ("desktop", re.compile("Windows|Macintosh|Mac OS X|X11|CrOS|Linux")),
)


@dataclass(frozen=True, slots=True)
class ParsedUserAgent:
    """The parts of a user-agent text. A part that no rule finds is None.

    bot_reason: name of the bot, and the rule that found it; None if it is no bot.
    """

    browser: str | None
    browser_version: str | None
    os: str | None
    os_version: str | None
    device_type: str | None
    bot_reason: str | None

    @property
    def is_bot(self) -> bool:
        """True if a rule says that no person sends this text."""
        return self.bot_reason is not None


class UserAgentParser:
    """The rules, ready to use. Building it takes 0.1 s and 15 MB of memory."""

    def __init__(self) -> None:
        self.rules_version = rules_version()
        self._listed_bots = ListedBots()
        browsers, systems, self._device_rules = ua_parser.load_lazy_builtins()
        self._names = ua_parser.BestAvailableResolver((browsers, systems, []))
        spiders = [rule for rule in self._device_rules if getattr(rule, "family", None) == SPIDER]
        self._spiders = ua_parser.BestAvailableResolver(([], [], spiders))

    def parse(self, text: str) -> ParsedUserAgent:
        """Read a user-agent text; any text is allowed."""
        found = self._names(text, Domain.USER_AGENT | Domain.OS)
        browser, system = found.user_agent, found.os
        return ParsedUserAgent(
            browser=browser.family if browser else None,
            browser_version=_version(browser) if browser else None,
            os=system.family if system else None,
            os_version=_version(system) if system else None,
            device_type=_device_type(text),
            bot_reason=self._bot_reason(text, browser),
        )

    def _bot_reason(self, text: str, browser: UserAgent | None) -> str | None:
        listed = self._listed_bots.find(text)
        if listed:
            name = listed[:MAX_NAME_CHARACTERS].strip(" /;()")
            return f"{name} (crawler-user-agents)"
        if self._is_spider(text):
            return f"{browser.family if browser else 'unnamed'} (ua-parser)"
        contact = CONTACT.search(text)
        return f"{contact[1]} (contact page)" if contact else None

    def _is_spider(self, text: str) -> bool:
        """Return True if the first rule for devices that matches a text says that it is a spider.

        All these rules take 14 MB of memory. They are only loaded if one of the few for spiders
        matches a text, or if a device can have this name.
        """
        if SPIDER not in text and self._spiders(text, Domain.DEVICE).device is None:
            return False
        device = self._devices(text, Domain.DEVICE).device
        return device is not None and device.family == SPIDER

    @cached_property
    def _devices(self) -> Resolver:
        return ua_parser.BestAvailableResolver(([], [], self._device_rules))


def rules_version() -> str:
    """Return a text that changes whenever a rule may have changed."""
    return (
        f"ua-parser {version('ua-parser-builtins')}, "
        f"crawler-user-agents {version('crawler-user-agents')}, own {OWN_RULES_VERSION}"
    )


def _version(found: UserAgent | OS) -> str | None:
    return ".".join(filter(None, (found.major, found.minor, found.patch))) or None


def _device_type(text: str) -> str | None:
    return next((name for name, pattern in DEVICE_TYPES if pattern.search(text)), None)
