-- Every event.
CREATE TABLE flink_events (
    event_id STRING,
    event_time TIMESTAMP(6),
    event_type STRING,
    user_id STRING,
    page_url STRING,
    referrer STRING,
    user_agent STRING,
    ip_address STRING,
    device_type STRING,
    country STRING,
    city STRING,
    success BOOLEAN,
    product_id STRING,
    product_category STRING,
    price DECIMAL(14, 4),
    quantity INT,
    order_id STRING,
    search_query STRING,
    element_id STRING,
    viewport_size STRING,
    article_id STRING,
    article_category STRING,
    visit_id STRING,
    engaged_ms INT,
    PRIMARY KEY (event_time, event_id) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://',
    'table-name' = 'flink_events',
    'sink.buffer-flush.max-rows' = '1000'
)
