"""The tables erasure_keys and erased_visitors: visitors of whom nothing is stored any more.

Of an erased visitor only a keyed hash of the id is stored: the id itself is not kept, and a record
that is read again is still recognised. The hash is pseudonymous, not anonymous: anybody who has the
key can find out if an id was erased.
"""

import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from clickstream.clients.postgres import Cursor

KEY_BYTES = 32

# A database has several keys if visitors were erased in it before the erasures of another journal
# were repeated.
SELECT_KEYS = "SELECT key FROM erasure_keys ORDER BY created_at, key"
INSERT_KEY = "INSERT INTO erasure_keys (key) VALUES (%s) ON CONFLICT DO NOTHING"
INSERT_ERASED = """
    INSERT INTO erased_visitors (visitor_hash)
    SELECT decode(hash, 'hex') FROM unnest(%s::text[]) AS hash ORDER BY 1
    ON CONFLICT DO NOTHING
"""
SELECT_ERASED = """
    SELECT encode(visitor_hash, 'hex'), erased_at FROM erased_visitors
    WHERE visitor_hash = ANY (ARRAY(SELECT decode(hash, 'hex') FROM unnest(%s::text[]) AS hash))
"""


def hash_visitor(key: bytes, user_id: str) -> str:
    """Return the hash of a visitor, in hex: HMAC-SHA-256 of the id in UTF-8."""
    return hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


def keys(cursor: Cursor) -> list[bytes]:
    """Return the keys of the stored hashes, the first one first."""
    cursor.execute(SELECT_KEYS)
    return [bytes(key) for (key,) in cursor.fetchall()]


def ensure_key(cursor: Cursor) -> bytes:
    """Return the first key, and make one if there is none.

    The caller holds the write lock alone.
    """
    for key in keys(cursor):
        return key
    key = secrets.token_bytes(KEY_BYTES)
    add_keys(cursor, [key])
    return key


def add_keys(cursor: Cursor, new: Iterable[bytes]) -> None:
    """Store keys that are not stored yet."""
    for key in new:
        cursor.execute(INSERT_KEY, (key,))


def add(cursor: Cursor, hashes: Iterable[str]) -> None:
    """Store the hashes of erased visitors, in hex; one that is stored keeps its time."""
    cursor.execute(INSERT_ERASED, (list(hashes),))


def find(
    cursor: Cursor, stored_keys: Sequence[bytes], visitors: Collection[str]
) -> dict[str, datetime]:
    """Return those of the visitors that were erased, with the time.

    stored_keys: as `keys` returns them; empty if no visitor was ever erased.
    """
    by_hash = {hash_visitor(key, each): each for key in stored_keys for each in visitors}
    if not by_hash:
        return {}
    cursor.execute(SELECT_ERASED, (list(by_hash),))
    return {by_hash[each]: erased_at for each, erased_at in cursor}
