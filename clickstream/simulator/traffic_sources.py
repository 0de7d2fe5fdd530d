"""The sources of the simulated visits: the share of each, and its addresses and referrers.

Each source states the values that a session which begins with it must get; the channel is one of
Google Analytics 4's default channel groups. The values are written down here and not derived from
addresses, so that they can check the rules that derive them.
"""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode

from clickstream.simulator.catalogue import SITE as SHOP_SITE

NEWS_SITE = "https://news.example.com"


class TrafficSource(NamedTuple):
    """The source of a session, by the names of the columns of session_sources."""

    source: str
    medium: str
    channel: str
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    click_network: str | None = None


DIRECT = TrafficSource("(direct)", "(none)", "Direct")
MIX_SIZE = 1_000

GOOGLE = "https://www.google.com/"
BING = "https://www.bing.com/"
FACEBOOK = "https://l.facebook.com/"
# Parameters with a click id, and the ad network of each.
CLICK_NETWORKS = {
    "gclid": "Google Ads",
    "gbraid": "Google Ads",
    "dclid": "Google Marketing Platform",
    "msclkid": "Microsoft Advertising",
    "ttclid": "TikTok",
    "fbclid": "Meta",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One way in which visits begin.

    visits: how many of MIX_SIZE visits begin in this way. source: the source of a session that
    begins with the first event. referrer: that of the first event. tags: campaign parameters in the
    address of the landing page. click_id: name of a parameter that the other site adds, with a
    random value. later_source: the source of a session that begins with a later event on the
    landing page, which has the address but no referrer.
    """

    visits: int
    source: TrafficSource = DIRECT
    referrer: str | None = None
    tags: str = ""
    click_id: str | None = None
    later_source: TrafficSource = DIRECT

    def query(self, rng: Random) -> str:
        """Return the query of the landing page's address, or an empty string."""
        if self.click_id is None:
            return self.tags
        clicked = f"{self.click_id}={rng.getrandbits(96):024x}"
        return f"{self.tags}&{clicked}" if self.tags else clicked


def _search(visits: int, site: str, name: str) -> Arrival:
    """Return visits from the results of a search engine."""
    source = TrafficSource(name, "organic", "Organic Search")
    return Arrival(visits, source, f"https://{site}/")


def _link(visits: int, channel: str, url: str, medium: str = "referral") -> Arrival:
    """Return visits from a link on another site."""
    host = url.split("/")[2].removeprefix("www.")
    return Arrival(visits, TrafficSource(host, medium, channel), url)


def _link_of_facebook(visits: int) -> Arrival:
    """Return visits from links of Facebook, which adds a click id to all of them."""
    source = TrafficSource(
        "l.facebook.com", "referral", "Organic Social", click_network=CLICK_NETWORKS["fbclid"]
    )
    # Without the referrer, only the click id shows that it was Facebook.
    later_source = source._replace(source="facebook")
    return Arrival(visits, source, FACEBOOK, click_id="fbclid", later_source=later_source)


def _ad_of_google(visits: int, click_id: str) -> Arrival:
    """Return visits from ads of Google, which marks the address by a click id alone."""
    source = TrafficSource("google", "cpc", "Paid Search", click_network=CLICK_NETWORKS[click_id])
    return Arrival(visits, source, GOOGLE, click_id=click_id, later_source=source)


def _campaign(
    visits: int,
    source: TrafficSource,
    referrer: str | None = None,
    click_id: str | None = None,
) -> Arrival:
    """Return visits from a link whose address has campaign parameters."""
    tags = {
        "utm_source": source.source,
        "utm_medium": source.medium,
        "utm_campaign": source.campaign,
        "utm_term": source.term,
        "utm_content": source.content,
    }
    query = urlencode({name: value for name, value in tags.items() if value})
    if click_id is not None:
        source = source._replace(click_network=CLICK_NETWORKS[click_id])
    return Arrival(visits, source, referrer, query, click_id, later_source=source)


def _own_page(visits: int, site: str) -> Arrival:
    """Return visits that continue on an open page of the site itself; their source is direct."""
    return Arrival(visits, referrer=f"{site}/")


SHOP_ARRIVALS = (
    Arrival(252),
    _own_page(20, SHOP_SITE),
    _search(220, "www.google.com", "google"),
    _search(40, "www.bing.com", "bing"),
    _search(25, "duckduckgo.com", "duckduckgo"),
    _link_of_facebook(45),
    _link(40, "Organic Social", "https://www.instagram.com/"),
    _link(15, "Organic Social", "https://www.pinterest.com/pin/4711/"),
    _link(20, "Organic Video", "https://www.youtube.com/"),
    _link(12, "Organic Shopping", "https://www.etsy.com/"),
    _link(25, "Referral", "https://blog.example.org/the-ten-best-gifts"),
    _link(10, "Referral", "https://www.theguardian.com/lifeandstyle"),
    # Webmail: a link of a mail without campaign parameters.
    _link(8, "Referral", "https://mail.google.com/"),
    _link(10, "AI Assistant", "https://chatgpt.com/", "ai-assistant"),
    _ad_of_google(45, "gclid"),
    _ad_of_google(10, "gbraid"),
    _campaign(
        25,
        TrafficSource("bing", "cpc", "Paid Search", "brand", "example shop", "headline-b"),
        BING,
        "msclkid",
    ),
    _campaign(20, TrafficSource("google", "cpc", "Paid Shopping", "shopping-all"), GOOGLE, "gclid"),
    _campaign(
        25,
        TrafficSource("facebook", "paid_social", "Paid Social", "autumn-sale", content="carousel"),
        FACEBOOK,
        "fbclid",
    ),
    _campaign(
        15,
        TrafficSource("tiktok", "cpc", "Paid Social", "autumn-sale", content="video 15 s"),
        click_id="ttclid",
    ),
    _campaign(8, TrafficSource("youtube", "cpv", "Paid Video", "how-to"), click_id="gclid"),
    _campaign(
        12,
        TrafficSource("partner-network", "display", "Display", "retargeting"),
        "https://www.dailynews.example.net/weather",
        "dclid",
    ),
    _campaign(5, TrafficSource("google", "cross-network", "Cross-network", "cross-network")),
    _campaign(60, TrafficSource("newsletter", "email", "Email", "this-week", content="top link")),
    _campaign(
        8, TrafficSource("newsletter", "email", "Email", "this-week"), "https://mail.example.org/"
    ),
    _campaign(12, TrafficSource("bargains", "affiliate", "Affiliates", "cashback")),
    _campaign(5, TrafficSource("parcel-service", "sms", "SMS", "delivered")),
    _campaign(4, TrafficSource("app", "push", "Mobile Push Notifications", "price-drop")),
    _campaign(2, TrafficSource("podcast", "audio", "Audio", "episode-12")),
    # A medium that belongs to no channel.
    _campaign(2, TrafficSource("flyer", "qr", "Unassigned", "opening")),
)

NEWS_ARRIVALS = (
    Arrival(320),
    _own_page(30, NEWS_SITE),
    _search(180, "www.google.com", "google"),
    _search(35, "www.bing.com", "bing"),
    _search(15, "duckduckgo.com", "duckduckgo"),
    _link_of_facebook(90),
    _link(50, "Organic Social", "https://t.co/"),
    _link(40, "Organic Social", "https://www.reddit.com/"),
    _link(20, "Organic Social", "https://www.linkedin.com/"),
    _link(20, "Organic Video", "https://www.youtube.com/"),
    _link(35, "Referral", "https://www.theguardian.com/world"),
    _link(20, "Referral", "https://blog.example.org/what-we-read"),
    _link(10, "AI Assistant", "https://chatgpt.com/", "ai-assistant"),
    _campaign(70, TrafficSource("newsletter", "email", "Email", "morning", content="top story")),
    _campaign(25, TrafficSource("app", "push", "Mobile Push Notifications", "breaking")),
    _campaign(
        20,
        TrafficSource("facebook", "paid_social", "Paid Social", "subscribe", content="offer"),
        FACEBOOK,
        "fbclid",
    ),
    _ad_of_google(15, "gclid"),
    _campaign(5, TrafficSource("podcast", "audio", "Audio", "daily")),
)

# The page of a payment provider that visitors come back from in the middle of a visit.
PAYMENT_PAGE = _link(0, "Referral", "https://www.paypal.com/checkoutnow")


def mix(arrivals: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
    """Return each arrival as often as it occurs among MIX_SIZE visits."""
    return tuple(each for each in arrivals for _ in range(each.visits))


SHOP_MIX = mix(SHOP_ARRIVALS)
NEWS_MIX = mix(NEWS_ARRIVALS)
