-- The tables that the Flink job writes, beside those of schema.sql, which the job neither reads nor
-- writes. `python -m clickstream flink run` creates them.
--
-- JSON, UUIDs and addresses are text: Flink's JDBC connector writes text, which PostgreSQL accepts for
-- columns of these types only with the option stringtype=unspecified in the JDBC address. The job has
-- checked the texts, so that casts such as event_id::uuid and unique_pages::jsonb always succeed.

CREATE TABLE IF NOT EXISTS flink_events (
    event_id          text        NOT NULL COLLATE "C",
    event_time        timestamptz NOT NULL,
    event_type        text        NOT NULL,
    user_id           text        NOT NULL COLLATE "C",
    page_url          text,
    referrer          text,
    user_agent        text,
    ip_address        text,
    device_type       text,
    country           text,
    city              text,
    success           boolean,
    product_id        text,
    product_category  text,
    price             numeric(14, 4),
    quantity          integer,
    order_id          text,
    search_query      text,
    element_id        text,
    viewport_size     text,
    article_id        text,
    article_category  text,
    visit_id          text,
    engaged_ms        integer,
    PRIMARY KEY (event_time, event_id)
);

CREATE TABLE IF NOT EXISTS flink_sessions (
    user_id                  text        NOT NULL COLLATE "C",
    total_events             bigint      NOT NULL,
    event_type_counts        text        NOT NULL,
    first_event_timestamp    timestamptz NOT NULL,
    last_event_timestamp     timestamptz NOT NULL,
    first_event_id           text        NOT NULL,
    last_event_id            text        NOT NULL,
    session_duration_minutes double precision NOT NULL GENERATED ALWAYS AS
        (EXTRACT(EPOCH FROM last_event_timestamp - first_event_timestamp)::double precision / 60) STORED,
    unique_pages             text        NOT NULL,
    unique_pages_count       integer     NOT NULL,
    landing_page             text,
    entry_referrer           text,
    exit_page                text,
    total_revenue            numeric(38, 4) NOT NULL,
    orders_count             bigint      NOT NULL,
    products_viewed          text        NOT NULL,
    products_viewed_count    integer     NOT NULL,
    search_queries           text        NOT NULL,
    referrers                text        NOT NULL,
    unique_referrers_count   integer     NOT NULL,
    user_agent               text,
    ip_address               text,
    device_type              text,
    country                  text,
    is_bounce                boolean     NOT NULL,
    engaged_seconds          numeric(20, 3),
    PRIMARY KEY (user_id, first_event_timestamp)
);

-- Records that could not become a row of flink_events.
CREATE TABLE IF NOT EXISTS flink_dead_letters (
    kafka_partition   integer     NOT NULL,
    kafka_offset      bigint      NOT NULL,
    reason            text        NOT NULL,
    value             text,
    PRIMARY KEY (kafka_partition, kafka_offset)
);

-- Events that came when their session could have been closed already: they are in flink_events, and
-- in no session.
CREATE TABLE IF NOT EXISTS flink_late_events (
    kafka_partition   integer     NOT NULL,
    kafka_offset      bigint      NOT NULL,
    user_id           text        NOT NULL,
    event_time        timestamptz NOT NULL,
    event_id          text        NOT NULL,
    event_type        text        NOT NULL,
    late_by_seconds   bigint      NOT NULL,
    PRIMARY KEY (kafka_partition, kafka_offset)
);
