"""The address of the client that sent a request, behind any number of proxies of our own."""

from ipaddress import ip_address

from starlette.datastructures import Headers

from clickstream.model.ip_addresses import UNKNOWN, read_address


def client_address(headers: Headers, peer: str, trusted_proxies: int) -> str:
    """Return the client's IP address as text, or UNKNOWN.

    peer: the address at the other end of the connection. trusted_proxies: the number of our own
    proxies in front. Each has appended the address of its peer to X-Forwarded-For, so the client is
    this many entries from the end. Entries before that come from the client itself and are ignored.
    """
    if trusted_proxies:
        lists = headers.getlist("x-forwarded-for")
        chain = [entry for each in lists for entry in each.split(",")]
        if len(chain) >= trusted_proxies:
            address, _ = read_address(chain[-trusted_proxies])
            return address or UNKNOWN
    return _normal(peer)


def rate_key(address: str) -> str:
    """Return the key of an address's rate: an IPv4 address, or the /64 network of an IPv6 one."""
    if ":" not in address:
        return address
    return str(ip_address(int(ip_address(address)) >> 64 << 64))


def _normal(peer: str) -> str:
    address, _ = read_address(peer)
    return address or UNKNOWN
