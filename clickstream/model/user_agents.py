"""Reading a user-agent text: browser, operating system, device type, and whether it is a bot.

The rules come from ua-parser (browser, operating system, spiders), from crawler-user-agents (bots)
and from this module. Reading takes time linear in the length of a text, whatever is in it.
"""

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files

import ua_parser
from ua_parser import OS, Domain, Matchers, PartialResult, Resolver, UserAgent
from ua_parser.core import Matcher
from ua_parser.lazy import UserAgentMatcher

# Raise this number when a rule in this module changes.
OWN_RULES_VERSION = 1
# Patterns of crawler-user-agents that also match browsers, apps and phones of people.
PATTERNS_OF_PEOPLE = frozenset(
    {
        r"008\/",  # the end of many phone models
        r"AP3A\.240617\.008",  # a build of Android 15 on phones of several makers
        "Butterfly",  # HTC Butterfly
        "Expanse",  # a phone
        "Fever",  # Wiko Fever
        "Fluid",  # a browser of macOS
        "MetaIAB Facebook",  # the browser within the Facebook app
        "Sogou",  # a browser
        "Sonic",  # ViewSonic
        "Viber",  # the browser within the Viber app
        "coccoc",  # a browser
    }
)
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
    """The rules, ready to use. Building it takes 0.2 s and 60 MB of memory."""

    def __init__(self) -> None:
        self.rules_version = rules_version()
        self._resolver = _resolver(ua_parser.load_lazy_builtins())
        matchers: list[Matcher[UserAgent]] = [
            UserAgentMatcher(f"({pattern})") for pattern in bot_patterns()
        ]
        self._bots = _resolver((matchers, [], []))

    def parse(self, text: str) -> ParsedUserAgent:
        """Read a user-agent text; any text is allowed."""
        found = self._resolver(text, Domain.ALL)
        browser, system = found.user_agent, found.os
        return ParsedUserAgent(
            browser=browser.family if browser else None,
            browser_version=_version(browser) if browser else None,
            os=system.family if system else None,
            os_version=_version(system) if system else None,
            device_type=_device_type(text),
            bot_reason=self._bot_reason(text, found),
        )

    def _bot_reason(self, text: str, found: PartialResult) -> str | None:
        listed = self._bots(text, Domain.USER_AGENT).user_agent
        if listed:
            name = listed.family[:MAX_NAME_CHARACTERS].strip(" /;()")
            return f"{name} (crawler-user-agents)"
        if found.device and found.device.family == "Spider":
            return f"{found.user_agent.family if found.user_agent else 'unnamed'} (ua-parser)"
        contact = CONTACT.search(text)
        return f"{contact[1]} (contact page)" if contact else None


def rules_version() -> str:
    """Return a text that changes whenever a rule may have changed."""
    return (
        f"ua-parser {version('ua-parser-builtins')}, "
        f"crawler-user-agents {version('crawler-user-agents')}, own {OWN_RULES_VERSION}"
    )


def bot_patterns() -> list[str]:
    """Return the regular expressions of crawler-user-agents, without PATTERNS_OF_PEOPLE."""
    return [pattern for pattern in listed_patterns() if pattern not in PATTERNS_OF_PEOPLE]


def listed_patterns() -> list[str]:
    """Return all regular expressions of crawler-user-agents."""
    # Read here, because the package reads its file in the encoding of the locale.
    listed = files("crawleruseragents").joinpath("crawler-user-agents.json")
    return [each["pattern"] for each in json.loads(listed.read_text(encoding="utf-8"))]


def _resolver(matchers: Matchers) -> Resolver:
    return ua_parser.BestAvailableResolver(matchers)


def _version(found: UserAgent | OS) -> str | None:
    return ".".join(filter(None, (found.major, found.minor, found.patch))) or None


def _device_type(text: str) -> str | None:
    return next((name for name, pattern in DEVICE_TYPES if pattern.search(text)), None)
