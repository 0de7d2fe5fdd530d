"""A check that PostgreSQL allows as many connections as the pipeline opens."""

from dataclasses import dataclass

from clickstream.clients.postgres import Connection
from clickstream.consumer.shares import STORING_THREADS
from clickstream.errors import UserError
from clickstream.settings import Settings
from clickstream.storage.query_rows import select_as

# Those of the storing threads, and one of consumer/user_agent_thread.py.
CONSUMER_CONNECTIONS = STORING_THREADS + 1
# indexer/leadership.py; each consumer has one, the leader or not.
INDEXER_CONNECTIONS = 1
# The report, which has two, the live view, and a command or a psql of an operator.
OTHER_CONNECTIONS = 4
# The limits that hold for this role. Superusers may use reserved connections, and have no limit of
# their own. Connections that the pipeline has open are not counted as used.
SELECT_LIMITS = """
    WITH role AS (SELECT oid, rolname, rolsuper, rolconnlimit FROM pg_roles
                  WHERE rolname = current_user),
    database AS (SELECT oid, datname, datconnlimit FROM pg_database
                 WHERE datname = current_database()),
    others AS (SELECT usesysid, datid FROM pg_stat_activity
               WHERE coalesce(backend_type, 'client backend') = 'client backend'
                 AND usesysid IS NOT NULL AND datid IS NOT NULL
                 AND NOT (datid = (SELECT oid FROM database)
                          AND application_name LIKE 'clickstream%'))
    SELECT 'max_connections without the reserved ones' AS name,
           current_setting('max_connections')::integer - CASE WHEN rolsuper THEN 0 ELSE
               current_setting('superuser_reserved_connections')::integer
               + coalesce(current_setting('reserved_connections', true), '0')::integer
           END AS size,
           (SELECT count(*) FROM others) AS used,
           'raise max_connections, or use a larger plan' AS remedy
    FROM role
    UNION ALL
    SELECT format('the CONNECTION LIMIT of role %I', rolname), rolconnlimit,
           (SELECT count(*) FROM others WHERE usesysid = oid),
           format('run: ALTER ROLE %I CONNECTION LIMIT -1', rolname)
    FROM role WHERE NOT rolsuper AND rolconnlimit >= 0
    UNION ALL
    SELECT format('the CONNECTION LIMIT of database %I', datname), datconnlimit,
           (SELECT count(*) FROM others WHERE datid = database.oid),
           format('run: ALTER DATABASE %I CONNECTION LIMIT -1', datname)
    FROM database, role WHERE NOT rolsuper AND datconnlimit >= 0
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on connections.

    size: how many it allows. used: how many other programs have. remedy: how to raise the limit.
    """

    name: str
    size: int
    used: int
    remedy: str

    @property
    def left(self) -> int:
        """Number of connections that are left for the pipeline."""
        return max(0, self.size - self.used)


def check_limits(settings: Settings, connection: Connection) -> str:
    """Check that one consumer, the report, the live view and a command can connect."""
    with connection, connection.cursor() as cursor:
        limits = select_as(Limit, cursor, SELECT_LIMITS)
    tightest = min(limits, key=lambda limit: limit.left)
    each = CONSUMER_CONNECTIONS + (INDEXER_CONNECTIONS if settings.opensearch_host else 0)
    needed = each + OTHER_CONNECTIONS
    if tightest.left < needed:
        raise UserError(
            f"{tightest.left} connections are left for the pipeline, by {tightest.name} "
            f"({tightest.size}, of which {tightest.used} are used by other programs), and it needs "
            f"{needed} with one consumer; stop other programs, or let an administrator "
            f"{tightest.remedy}"
        )
    return (
        f"{tightest.left} left for the pipeline, which needs {needed} with one consumer and {each} "
        "more for each other one"
    )
