-- Closed sessions. The columns mean the same as those of session_metrics in schema.sql; arrays and
-- objects are JSON.
CREATE TABLE flink_sessions (
    user_id STRING,
    total_events BIGINT,
    event_type_counts STRING,
    first_event_timestamp TIMESTAMP(6),
    last_event_timestamp TIMESTAMP(6),
    first_event_id STRING,
    last_event_id STRING,
    unique_pages STRING,
    unique_pages_count INT,
    landing_page STRING,
    entry_referrer STRING,
    exit_page STRING,
    total_revenue DECIMAL(38, 4),
    orders_count BIGINT,
    products_viewed STRING,
    products_viewed_count INT,
    search_queries STRING,
    referrers STRING,
    unique_referrers_count INT,
    user_agent STRING,
    ip_address STRING,
    device_type STRING,
    country STRING,
    is_bounce BOOLEAN,
    engaged_seconds DECIMAL(20, 3),
    PRIMARY KEY (user_id, first_event_timestamp) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://',
    'table-name' = 'flink_sessions',
    'sink.buffer-flush.max-rows' = '1000'
)
