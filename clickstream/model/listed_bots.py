"""The bots that the package crawler-user-agents lists, by patterns of their user agents."""

import json
import re
from importlib.resources import files

from ua_parser import BestAvailableResolver, Domain, UserAgent
from ua_parser.core import Matcher
from ua_parser.lazy import UserAgentMatcher

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
# A regular expression that matches one text only.
_is_plain_text = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^a-zA-Z0-9])*").fullmatch
# Plain texts are found by this many first characters.
BEGINNING = 3
_unescape = re.compile(r"\\(.)").sub


class ListedBots:
    """The patterns of bots, ready to use.

    Nearly all are plain texts, found by their beginnings: as regular expressions, they would take
    20 MB of memory.
    """

    def __init__(self) -> None:
        self._texts: dict[str, list[tuple[int, str]]] = {}
        matchers: list[Matcher[UserAgent]] = []
        for number, pattern in enumerate(bot_patterns()):
            text = _unescape(r"\1", pattern)
            if _is_plain_text(pattern) and len(text) >= BEGINNING:
                self._texts.setdefault(text[:BEGINNING], []).append((number, text))
            else:
                matchers.append(UserAgentMatcher(f"({pattern})", major=str(number)))
        self._others = BestAvailableResolver((matchers, [], []))

    def find(self, text: str) -> str | None:
        """Return the part of a user agent that the first pattern of the list in it matches."""
        found = [
            listed
            for place in range(len(text))
            for listed in self._texts.get(text[place : place + BEGINNING], ())
            if text.startswith(listed[1], place)
        ]
        other = self._others(text, Domain.USER_AGENT).user_agent
        if other and other.major:
            found.append((int(other.major), other.family))
        return min(found)[1] if found else None


def bot_patterns() -> list[str]:
    """Return the regular expressions of crawler-user-agents, without PATTERNS_OF_PEOPLE."""
    return [pattern for pattern in listed_patterns() if pattern not in PATTERNS_OF_PEOPLE]


def listed_patterns() -> list[str]:
    """Return all regular expressions of crawler-user-agents."""
    # Read here, because the package reads its file in the encoding of the locale.
    listed = files("crawleruseragents").joinpath("crawler-user-agents.json")
    return [each["pattern"] for each in json.loads(listed.read_text(encoding="utf-8"))]
