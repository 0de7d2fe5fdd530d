"""Reading user-agent texts: browsers and devices of people, and bots."""

import re
from time import process_time

import pytest

from clickstream.model.listed_bots import (
    PATTERNS_OF_PEOPLE,
    ListedBots,
    bot_patterns,
    listed_patterns,
)
from clickstream.model.user_agents import ParsedUserAgent, UserAgentParser

CHROMIUM = "AppleWebKit/537.36 (KHTML, like Gecko)"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROMIUM}"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROMIUM}"
LINUX = f"Mozilla/5.0 (X11; Linux x86_64) {CHROMIUM}"
ANDROID = f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {CHROMIUM}"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) {SAFARI}"
IPAD = f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {SAFARI}"
COMPATIBLE = "Mozilla/5.0 (compatible; "


def on_android(device: str) -> str:
    """Return the beginning of the user agent of a browser on an Android device."""
    return f"Mozilla/5.0 (Linux; Android 15; {device}) {CHROMIUM} Chrome/142.0.0.0"


# Text -> browser, its version, operating system, its version, device type.
BROWSERS = {
    f"{WINDOWS} Chrome/128.0.6613.85 Safari/537.36": (
        "Chrome",
        "128.0.6613",
        "Windows",
        "10",
        "desktop",
    ),
    f"{WINDOWS} Chrome/128.0.0.0 Safari/537.36 Edg/128.0.2739.42": (
        "Edge",
        "128.0.2739",
        "Windows",
        "10",
        "desktop",
    ),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0": (
        "Firefox",
        "130.0",
        "Windows",
        "10",
        "desktop",
    ),
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko": (
        "IE",
        "11.0",
        "Windows",
        "7",
        "desktop",
    ),
    f"{WINDOWS} Chrome/124.0.0.0 Safari/537.36 OPR/110.0.0.0": (
        "Opera",
        "110.0.0",
        "Windows",
        "10",
        "desktop",
    ),
    f"{WINDOWS} Chrome/122.0.0.0 YaBrowser/24.4.0.0 Safari/537.36": (
        "Yandex Browser",
        "24.4.0",
        "Windows",
        "10",
        "desktop",
    ),
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Version/17.6 Safari/605.1.15": (
        "Safari",
        "17.6",
        "Mac OS X",
        "10.15.7",
        "desktop",
    ),
    f"{MAC} Chrome/128.0.0.0 Safari/537.36": (
        "Chrome",
        "128.0.0",
        "Mac OS X",
        "10.15.7",
        "desktop",
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:129.0) Gecko/20100101 Firefox/129.0": (
        "Firefox",
        "129.0",
        "Mac OS X",
        "10.15",
        "desktop",
    ),
    f"{LINUX} Chrome/127.0.0.0 Safari/537.36": ("Chrome", "127.0.0", "Linux", None, "desktop"),
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0": (
        "Firefox",
        "128.0",
        "Ubuntu",
        None,
        "desktop",
    ),
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROMIUM} Chrome/126.0.0.0 Safari/537.36": (
        "Chrome",
        "126.0.0",
        "Chrome OS",
        "14541.0.0",
        "desktop",
    ),
    f"{IPHONE} Version/17.6 Mobile/15E148 Safari/604.1": (
        "Mobile Safari",
        "17.6",
        "iOS",
        "17.6",
        "mobile",
    ),
    f"{IPHONE} CriOS/128.0.6613.92 Mobile/15E148 Safari/604.1": (
        "Chrome Mobile iOS",
        "128.0.6613",
        "iOS",
        "17.6",
        "mobile",
    ),
    f"{IPAD} Version/16.6 Mobile/15E148 Safari/604.1": (
        "Mobile Safari",
        "16.6",
        "iOS",
        "16.6",
        "tablet",
    ),
    f"{ANDROID} Chrome/128.0.0.0 Mobile Safari/537.36": (
        "Chrome Mobile",
        "128.0.0",
        "Android",
        "14",
        "mobile",
    ),
    f"Mozilla/5.0 (Linux; Android 13; SM-X700) {CHROMIUM} Chrome/127.0.0.0 Safari/537.36": (
        "Chrome",
        "127.0.0",
        "Android",
        "13",
        "tablet",
    ),
    f"{ANDROID} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36": (
        "Samsung Internet",
        "25.0",
        "Android",
        "14",
        "mobile",
    ),
    "Mozilla/5.0 (Android 14; Mobile; rv:129.0) Gecko/129.0 Firefox/129.0": (
        "Firefox Mobile",
        "129.0",
        "Android",
        "14",
        "mobile",
    ),
    f"Mozilla/5.0 (Web0S; Linux/SmartTV) {CHROMIUM} Chrome/94.0.4606.128 Safari/537.36": (
        "Chrome",
        "94.0.4606",
        "Web0S",
        None,
        "tv",
    ),
    f"Mozilla/5.0 (PlayStation; PlayStation 5/8.20) {SAFARI} Version/16.4 Safari/605.1.15": (
        "Safari",
        "16.4",
        None,
        None,
        "console",
    ),
    "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16": (
        "Opera Mini",
        "36.2.2254",
        "Android",
        None,
        "mobile",
    ),
}
# Text -> bot_reason without the rule's name.
LISTED_BOTS = {
    COMPATIBLE + "Googlebot/2.1; +http://www.google.com/bot.html)": "Googlebot",
    on_android("Nexus 5X") + " Mobile Safari/537.36 (compatible; Googlebot/2.1)": "Googlebot",
    f"Mozilla/5.0 {CHROMIUM}; compatible; bingbot/2.0) Chrome/116.0.1938.76": "bingbot",
    f"Mozilla/5.0 {CHROMIUM}; compatible; GPTBot/1.2; +https://openai.com/gptbot)": "GPTBot",
    f"Mozilla/5.0 {CHROMIUM}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)": "ClaudeBot",
    f"Mozilla/5.0 {CHROMIUM}; compatible; PerplexityBot/1.0)": "PerplexityBot",
    COMPATIBLE + "YandexBot/3.0; +http://yandex.com/bots)": "yandex.com/bots",
    COMPATIBLE + "AhrefsBot/7.0; +http://ahrefs.com/robot/)": "AhrefsBot",
    f"{MAC} Version/13.1.1 Safari/605.1.15 (Applebot/0.1)": "Applebot",
    "curl/8.5.0": "curl",
    "Wget/1.21.4": "Wget",
    "python-requests/2.32.3": "python-requests",
    "Go-http-client/2.0": "Go-http-client",
    f"{LINUX} HeadlessChrome/127.0.0.0 Safari/537.36": "HeadlessChrome",
    COMPATIBLE + "UptimeRobot/2.0; http://www.uptimerobot.com/)": "UptimeRobot",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)": "Pingdom",
    f"{ANDROID} Chrome/119.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse": "Chrome-Lighthouse",
    "facebookexternalhit/1.1 (+http://www.facebook.com/)": "facebookexternalhit",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)": "Slackbot",
    "Twitterbot/1.0": "Twitterbot",
    "WhatsApp/2.23.20.0 A": "WhatsApp",
    "TelegramBot (like TwitterBot)": "TelegramBot",
    COMPATIBLE + "Discordbot/2.0; +https://discordapp.com)": "Discordbot",
}
OTHER_BOTS = {
    "Java/17.0.9": "Java (ua-parser)",
    "Sogou web spider/4.0(+http://www.sogou.com/)": "Sogou web spider (ua-parser)",
    "Fresh/0.1 (+https://example.org/about)": "https://example.org/about (contact page)",
}
# Apps, and browsers and phones whose names look like a bot's.
PEOPLE = [
    f"{IPHONE} Mobile/21G93 [FBAN/FBIOS;FBAV/478.0.0.42.74;FBBV/632245784]",
    f"{IPHONE} Mobile/21G93 Instagram 345.0.2.25.96 (iPhone14,5; iOS 17_6_1; de_DE)",
    on_android("CPH2581 Build/AP3A.240617.008; wv") + " Mobile Safari/537.36 Instagram 406.0.0",
    on_android("Pixel 10 Build/CP1A.260305.018; wv") + " Mobile Safari/537.36 MetaIAB Facebook",
    on_android("G011A Build/N2G48H; wv") + " Mobile Safari/537.36 Viber/11.9.5.8",
    on_android("Cubot X30") + " Mobile Safari/537.36",
    on_android("Fever_Plus_J") + " Mobile Safari/537.36",
    on_android("ViewSonic V500 Build/KVT49L") + " Mobile Safari/537.36",
    on_android("HTC Butterfly Build/JDQ39") + " Mobile Safari/537.36",
    on_android("Expanse") + " Mobile Safari/537.36",
    on_android("G610-C00") + " Mobile Safari/534.30 baiduboxapp/1099a/1.1.0_008/4.4",
    on_android("X20 PRO") + " Mobile Safari/537.36 Line/13.4.1/IAB",
    on_android("Redmi Note 2") + " Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/3.8.5",
    on_android("KFTUWI") + " Safari/537.36 Silk/118.1.77 like Chrome/118.0.5993.111",
    on_android("24129PN74G; wv") + " Mobile Safari/537.36 musical_ly_2023708050 trill",
    f"{WINDOWS} coccocbrowser/47.0 Chrome/41.0.2272.119coccoc Safari/537.36",
    f"{WINDOWS} Chrome/115.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781 WindowsWechat",
    f"{MAC} Fluid/0.9.6 Safari/528.16",
    f"{MAC} Chrome/128.0.0.0 Safari/537.36 Vivaldi/6.9.3447.37",
    f"{ANDROID} Chrome/128.0.0.0 Mobile Safari/537.36 DuckDuckGo/5",
    f"{IPHONE} GSA/330.0.664 Mobile/15E148 Safari/604.1",
    f"{IPHONE} Version/17.6 Mobile/15E148 Safari/604.1 YJApp-IOS jp.co.yahoo.ipn.appli",
    "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
    "MyShop/4.2 (iPhone; iOS 17.5; Scale/3.00)",
    *BROWSERS,
]


@pytest.fixture(scope="module")
def parser() -> UserAgentParser:
    """Return the rules."""
    return UserAgentParser()


@pytest.mark.parametrize("text", BROWSERS)
def test_a_browser_its_system_and_its_device_are_known(parser: UserAgentParser, text: str) -> None:
    found = parser.parse(text)
    assert BROWSERS[text] == (
        found.browser,
        found.browser_version,
        found.os,
        found.os_version,
        found.device_type,
    )


def test_bots_are_known_with_the_rule_that_knows_them(parser: UserAgentParser) -> None:
    bots = {text: f"{name} (crawler-user-agents)" for text, name in LISTED_BOTS.items()}
    bots |= OTHER_BOTS
    assert {text: parser.parse(text).bot_reason for text in bots} == bots
    assert all(parser.parse(text).is_bot for text in bots)


def test_the_first_listed_pattern_in_a_text_names_the_bot() -> None:
    listed = ListedBots()
    patterns = [re.compile(pattern) for pattern in bot_patterns()]
    for text in [*LISTED_BOTS, "^Seekbot", "Seekbot Wget curl", "a curl Wget", "AdsBot-Google-"]:
        first = next(filter(None, (pattern.search(text) for pattern in patterns)), None)
        assert listed.find(text) == (first and first[0])


def test_people_are_no_bots(parser: UserAgentParser) -> None:
    assert [text for text in PEOPLE if parser.parse(text).is_bot] == []


def test_the_list_of_bots_still_has_each_pattern_that_is_left_out() -> None:
    """Otherwise it has changed: PATTERNS_OF_PEOPLE needs another look."""
    assert set(listed_patterns()) >= PATTERNS_OF_PEOPLE
    assert PATTERNS_OF_PEOPLE.isdisjoint(bot_patterns())


@pytest.mark.parametrize(
    "text", ["", " ", "-", "\x01\u2028", "\N{WINKING FACE}", "(", "$1 \\", "undefined"]
)
def test_an_odd_text_says_nothing(parser: UserAgentParser, text: str) -> None:
    assert parser.parse(text) == ParsedUserAgent(None, None, None, None, None, None)


@pytest.mark.parametrize("text", ["a", "Mozilla/5.0 (Linux; Android ", "+ + ", "bot;Tablet PC "])
def test_a_text_of_any_length_takes_little_time(parser: UserAgentParser, text: str) -> None:
    longest = (text * 8192)[:8192]
    began = process_time()
    for _ in range(10):
        parser.parse(longest)
    assert process_time() - began < 2
