-- The events of the topic. Each field is read as text, so that no value of a field stops the job.
-- `problem` says why a record cannot become an event; NULL if it can. A record that is not JSON has no
-- row here, but one in `records`.
CREATE TABLE clicks (
    event_id STRING,
    event_type STRING,
    `timestamp` STRING,
    user_id STRING,
    page_url STRING,
    referrer STRING,
    user_agent STRING,
    ip_address STRING,
    device_type STRING,
    country STRING,
    city STRING,
    success STRING,
    product_id STRING,
    product_category STRING,
    price STRING,
    quantity STRING,
    order_id STRING,
    search_query STRING,
    element_id STRING,
    viewport_size STRING,
    article_id STRING,
    article_category STRING,
    visit_id STRING,
    engaged_ms STRING,
    kafka_partition INT METADATA FROM 'partition' VIRTUAL,
    kafka_offset BIGINT METADATA FROM 'offset' VIRTUAL,
    -- When the record was written.
    kafka_time TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,

    -- UTC, with microseconds.
    event_time AS TRY_CAST(REPLACE(REPLACE(`timestamp`, 'T', ' '), 'Z', '') AS TIMESTAMP(6)),
    -- For windows and watermarks, which need milliseconds and a value in every row.
    row_time AS COALESCE(
        TRY_CAST(REPLACE(REPLACE(`timestamp`, 'T', ' '), 'Z', '') AS TIMESTAMP(3)),
        TIMESTAMP '1970-01-01 00:00:00.000'),

    problem AS CASE
        WHEN COALESCE(event_type, '') = '' OR COALESCE(TRIM(user_id), '') = ''
          OR COALESCE(`timestamp`, '') = '' OR COALESCE(event_id, '') = ''
            THEN 'missing_field'
        -- The second test finds days that do not exist: February 30 is read as the 28th.
        WHEN NOT REGEXP(`timestamp`, '^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}([.][0-9]{1,6})?Z$')
          OR COALESCE(
                SUBSTRING(CAST(TRY_CAST(REPLACE(REPLACE(`timestamp`, 'T', ' '), 'Z', '')
                                        AS TIMESTAMP(3)) AS STRING) FROM 1 FOR 19), '')
             <> SUBSTRING(REPLACE(`timestamp`, 'T', ' ') FROM 1 FOR 19)
            THEN 'bad_timestamp'
        WHEN `timestamp` < '1990'
          OR TRY_CAST(REPLACE(REPLACE(`timestamp`, 'T', ' '), 'Z', '') AS TIMESTAMP(3))
             > kafka_time + INTERVAL '1' HOUR
            THEN 'timestamp_out_of_range'
        WHEN NOT REGEXP(event_id, '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
            THEN 'bad_event_id'
        -- PostgreSQL cannot store the character NUL, nor a longer visitor in an index.
        WHEN CHAR_LENGTH(user_id) > 256 OR CHAR_LENGTH(event_type) > 256
          OR LOCATE(CHR(0), CONCAT_WS('', event_type, user_id, page_url, referrer, user_agent,
                device_type, country, city, product_id, product_category, order_id, search_query,
                element_id, viewport_size, article_id, article_category, visit_id)) > 0
            THEN 'bad_text'
        WHEN price IS NOT NULL AND TRY_CAST(price AS DECIMAL(14, 4)) IS NULL
          OR NOT REGEXP(quantity, '^-?[0-9]{1,7}$')
          OR TRY_CAST(quantity AS INT) NOT BETWEEN -1000000 AND 1000000
          OR NOT REGEXP(engaged_ms, '^[0-9]{1,8}$')
          OR TRY_CAST(engaged_ms AS INT) > 86400000
            THEN 'bad_number'
        WHEN success IS NOT NULL AND success NOT IN ('true', 'false')
            THEN 'bad_boolean'
        WHEN ip_address IS NOT NULL
         AND NOT REGEXP(ip_address,
                '^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](?!$)|$)){4}$')
         AND NOT REGEXP(ip_address, '^('
                || '([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|'
                || '([0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4}|'
                || '([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4}){1,2}|'
                || '([0-9a-fA-F]{1,4}:){1,4}(:[0-9a-fA-F]{1,4}){1,3}|'
                || '([0-9a-fA-F]{1,4}:){1,3}(:[0-9a-fA-F]{1,4}){1,4}|'
                || '([0-9a-fA-F]{1,4}:){1,2}(:[0-9a-fA-F]{1,4}){1,5}|'
                || '[0-9a-fA-F]{1,4}:(:[0-9a-fA-F]{1,4}){1,6}|:((:[0-9a-fA-F]{1,4}){1,7}|:))$')
            THEN 'bad_address'
    END,

    -- One minute behind the newest event of each partition. If the time of an event is after its record
    -- was written, the time of writing counts: the wrong clock of one visitor must not make the events of
    -- all others late.
    WATERMARK FOR row_time AS
        CASE WHEN row_time > kafka_time THEN kafka_time ELSE row_time END - INTERVAL '1' MINUTE
) WITH (
    'connector' = 'kafka',
    'properties.bootstrap.servers' = '',
    'topic' = 'clickstream-events',
    'properties.group.id' = 'clickstream-flink',
    'properties.isolation.level' = 'read_committed',
    'scan.startup.mode' = 'earliest-offset',
    -- A partition that is silent for this long does not hold back the watermark of the others.
    'scan.watermark.idle-timeout' = '1 min',
    'value.format' = 'json',
    'value.json.ignore-parse-errors' = 'true'
)
