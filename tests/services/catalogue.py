"""The schema of a database as PostgreSQL's catalogues describe it."""

from tests.services.databases import Query

# Kind, name and definition of each part. The order of columns is left out: an upgrade appends them.
PARTS = """
    WITH relation AS (
        SELECT oid, relname::text AS name, relkind::text AS kind, reloptions::text AS options
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v'))
    SELECT 'relation', name, kind || coalesce(options, '') FROM relation
    UNION ALL
    SELECT 'column', name || '.' || attname,
           concat_ws(' ', format_type(atttypid, atttypmod), attcollation::regcollation, attnotnull,
                     attgenerated, pg_get_expr(adbin, adrelid))
    FROM pg_attribute
    JOIN relation ON relation.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', name || ': ' || conname, pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint JOIN relation ON relation.oid = conrelid
    UNION ALL
    SELECT 'index', indexrelid::regclass::text, indisvalid || ' ' || pg_get_indexdef(indexrelid)
    FROM pg_index JOIN relation ON relation.oid = indrelid
    UNION ALL
    SELECT 'view', name, pg_get_viewdef(oid) FROM relation WHERE kind = 'v'
    UNION ALL
    SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
    UNION ALL
    SELECT 'comment', name || coalesce('.' || attname, ''), description
    FROM pg_description
    JOIN relation ON relation.oid = objoid AND classoid = 'pg_class'::regclass
    LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND attnum > 0
    UNION ALL
    SELECT 'comment', oid::regprocedure::text, obj_description(oid, 'pg_proc')
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
# What stores data. Indexes are built after an upgrade; views, functions and comments are created
# again.
STORING = ("relation", "column", "constraint")


def parts(query: Query) -> dict[tuple[str, str], str]:
    """Return the definition of each part of the schema by its kind and name."""
    return {(kind, name): definition for kind, name, definition in query(PARTS)}
