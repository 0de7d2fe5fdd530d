"""The visitor's IP address, as proxies and servers write it."""

import re
import socket
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

# A port after an IPv4 address, or after the brackets of an IPv6 address.
_match_ipv4_with_port = re.compile(r"([0-9.]+):[0-9]{1,5}").fullmatch
_match_brackets = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?").fullmatch

# An IPv4-mapped IPv6 address begins with these bytes.
IPV4_MAPPED = bytes(10) + b"\xff\xff"

# The bytes of an address that truncation keeps: /24 of IPv4, /48 of IPv6.
KEPT_IPV4_BYTES = 3
KEPT_IPV6_BYTES = 6
# RFC 7239 uses this word for an address that is hidden.
UNKNOWN = "unknown"


class IpAddresses(StrEnum):
    """The values of IP_ADDRESSES: how much of each visitor's address is stored."""

    FULL = "full"
    TRUNCATED = "truncated"
    NONE = "none"


def is_plain_address(value: Any) -> bool:
    """Return True for the text of one address and nothing else."""
    if type(value) is not str:
        return False
    try:
        if ":" not in value:
            return bool(socket.inet_pton(socket.AF_INET, value))
        return not socket.inet_pton(socket.AF_INET6, value).startswith(IPV4_MAPPED)
    except (OSError, ValueError):
        return False


def read_address(value: Any) -> tuple[str | None, bool]:
    """Return the first address of a list, and True if something of the list was left out.

    A list such as that of X-Forwarded-For names the visitor first and then the proxies. Ports, zone
    ids and other addresses count as left out; blanks, brackets and the `::ffff:` of an IPv4-mapped
    address do not.
    """
    if is_plain_address(value):
        return value, False
    if type(value) is not str:
        return None, True
    entries = value.split(",")
    for entry in entries:
        address, has_rest = _read_entry(entry)
        if address is not None:
            return address, has_rest or len(entries) > 1
    return None, True


def truncate_address(address: str) -> str:
    """Return the /24 network of an IPv4 address or the /48 network of an IPv6 address.

    address: as `read_address` returns it. The result is an address, such as 192.0.2.0.
    """
    if ":" in address:
        kept = socket.inet_pton(socket.AF_INET6, address)[:KEPT_IPV6_BYTES]
        return socket.inet_ntop(socket.AF_INET6, kept.ljust(16, b"\0"))
    kept = socket.inet_pton(socket.AF_INET, address)[:KEPT_IPV4_BYTES]
    return socket.inet_ntop(socket.AF_INET, kept.ljust(4, b"\0"))


def truncate_list(text: str) -> str:
    """Return the addresses of a list, each of them truncated; UNKNOWN if it has none.

    The result is never much longer than the text, so that a value of the largest allowed size stays
    within the limit.
    """
    addresses = [_read_entry(entry)[0] for entry in text.split(",")]
    return ",".join(truncate_address(each) for each in addresses if each) or UNKNOWN


def _read_entry(entry: str) -> tuple[str | None, bool]:
    """Return the address in an entry of a list, and True if it has a port or a zone id."""
    host, port = _without_port(entry.strip())
    host, _, zone = host.partition("%")
    return _address(host), bool(port or zone)


def _without_port(entry: str) -> tuple[str, str]:
    """Return the host of an entry and its port, which may be empty."""
    if found := _match_brackets(entry):
        return found[1], found[2] or ""
    if found := _match_ipv4_with_port(entry):
        return found[1], "port"
    return entry, ""


def _address(host: str) -> str | None:
    try:
        if ":" not in host:
            return str(IPv4Address(host))
        address = IPv6Address(host)
        return str(address.ipv4_mapped or address)
    except AddressValueError:
        return None
