"""The values of a record that hold IP addresses, limited to what IP_ADDRESSES keeps of them.

They are the values under every name of the field ip_address: `ip_address`, `ip`, and the names in
EVENT_FIELDS, nested ones included. Values under other names are never changed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from clickstream.model.field_names import FieldNames, Path, is_absent
from clickstream.model.ip_addresses import UNKNOWN, IpAddresses, truncate_list

FIELD = "ip_address"
# Returned in place of a value that is left out of its object.
LEFT_OUT = object()


def limit_addresses(fields: dict[str, Any], names: FieldNames, kept: IpAddresses) -> dict[str, Any]:
    """Return the fields of a record with its addresses limited; the record is not changed.

    Limiting the result again changes nothing.
    """
    if kept is not IpAddresses.FULL:
        for path in names.paths[FIELD]:
            fields = _replace(fields, path, partial(_limit, path=path, names=names, kept=kept))
    return fields


def shared_names(names: FieldNames) -> dict[str, str]:
    """Return the other fields that are read under a name of ip_address, each with that name."""
    addresses = set(names.paths[FIELD])
    return {
        field: ".".join(path)
        for field, paths in names.paths.items()
        for path in paths
        if field != FIELD and path in addresses
    }


def _limit(value: Any, *, path: Path, names: FieldNames, kept: IpAddresses) -> Any:
    """Return what is kept of the value at a path of ip_address; LEFT_OUT for nothing.

    If the value is an object, the fields inside it are kept: an address among them is limited by a
    path of its own.
    """
    if is_absent(value):
        return value
    if type(value) is dict:
        inner = {name: each for name, each in value.items() if _is_read((*path, name), names)}
        if inner:
            return inner
    if kept is IpAddresses.NONE:
        return LEFT_OUT
    return truncate_list(value) if type(value) is str else UNKNOWN


def _is_read(path: Path, names: FieldNames) -> bool:
    """Return True if a field is read at this path or inside the object there."""
    return any(other[: len(path)] == path for paths in names.paths.values() for other in paths)


def _replace(outer: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """Return an object with the value at a path changed; a value without this path is unchanged."""
    name, *rest = path
    if type(outer) is not dict or name not in outer:
        return outer
    inner = _replace(outer[name], tuple(rest), change) if rest else change(outer[name])
    if inner is LEFT_OUT:
        return {other: value for other, value in outer.items() if other != name}
    return {**outer, name: inner}
