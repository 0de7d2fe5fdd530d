"""The visitor's IP address, as proxies and servers write it."""

import re
import socket
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

# A port after an IPv4 address, or after the brackets of an IPv6 address.
_match_ipv4_with_port = re.compile(r"([0-9.]+):[0-9]{1,5}").fullmatch
_match_brackets = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?").fullmatch

# An IPv4-mapped IPv6 address begins with these bytes.
IPV4_MAPPED = bytes(10) + b"\xff\xff"


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
    entries = [entry.strip() for entry in value.split(",")]
    for entry in entries:
        host, rest = _without_port(entry)
        host, _, zone = host.partition("%")
        address = _address(host)
        if address is not None:
            return address, bool(rest or zone or len(entries) > 1)
    return None, True


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
