-- The job: it turns records into events, sessions, late events and dead letters. The tables are in
-- tables/, README.md explains the job.
EXECUTE STATEMENT SET
BEGIN

-- All events, also late ones. A duplicate writes the row of its event again.
INSERT INTO flink_events
SELECT LOWER(event_id), event_time, event_type, user_id, page_url, referrer, user_agent, ip_address,
       device_type, country, city, CAST(success AS BOOLEAN), product_id, product_category,
       CAST(price AS DECIMAL(14, 4)), CAST(quantity AS INT), order_id, search_query, element_id,
       viewport_size, article_id, article_category, visit_id, CAST(engaged_ms AS INT)
FROM clicks
WHERE problem IS NULL;

-- Sessions of the events that are not late. A session is closed, and written, when the watermark
-- reaches the end of its window: 30 minutes after its last event.
INSERT INTO flink_sessions
WITH on_time AS (
    SELECT *,
           -- Key that orders the events of a visitor: 26 characters of time, then the id.
           CAST(event_time AS STRING) || LOWER(event_id) AS event_key,
           kafka_partition * 1000000000000 + kafka_offset AS kafka_position
    FROM clicks
    WHERE problem IS NULL
      -- One millisecond above the watermark: an event exactly at the end of a window belongs to the
      -- window, and Flink closes it one millisecond before its end.
      AND (CURRENT_WATERMARK(row_time) IS NULL
           OR row_time > CURRENT_WATERMARK(row_time) + INTERVAL '0.001' SECOND)
),
-- Duplicates have the same time. When the watermark reaches this time, all duplicates that are not late
-- have arrived. Then the first record in Kafka is kept, and Flink drops the state of the event.
marked AS (
    SELECT *,
           MIN(kafka_position) OVER (
               PARTITION BY user_id, event_key ORDER BY row_time
               RANGE BETWEEN INTERVAL '0' SECOND PRECEDING AND CURRENT ROW) AS first_position
    FROM on_time
),
events AS (
    SELECT user_id, row_time, event_time, event_key, event_type, page_url, referrer, user_agent,
           ip_address, device_type, country,
           event_type = 'purchase' AS is_purchase,
           CASE WHEN event_type = 'purchase' THEN order_id END AS order_id,
           CASE WHEN event_type = 'purchase'
                THEN CAST(price AS DECIMAL(14, 4)) * COALESCE(CAST(quantity AS INT), 1) END AS revenue,
           CASE WHEN event_type IN ('page_view', 'click', 'hover', 'scroll', 'add_to_cart')
                THEN product_id END AS viewed_product,
           CASE WHEN event_type = 'search' THEN search_query END AS search_query,
           CAST(engaged_ms AS BIGINT) AS engaged_ms
    FROM marked
    WHERE kafka_position = first_position
)
-- The value of the first event is found by the smallest key: MIN(key || value), without the 62
-- characters of the key.
SELECT user_id,
       COUNT(*) AS total_events,
       -- {"click"=1} becomes {"click":1}: replaces each = after a quote that has no backslash.
       REGEXP_REPLACE(CAST(COLLECT(JSON_STRING(event_type)) AS STRING),
                      '(?<=(?<!\\)(\\\\){0,256}")=', ':') AS event_type_counts,
       MIN(event_time) AS first_event_timestamp,
       MAX(event_time) AS last_event_timestamp,
       SUBSTRING(MIN(event_key) FROM 27) AS first_event_id,
       SUBSTRING(MAX(event_key) FROM 27) AS last_event_id,
       '[' || COALESCE(LISTAGG(DISTINCT JSON_STRING(page_url), ','), '') || ']' AS unique_pages,
       CAST(LEAST(COUNT(DISTINCT page_url), 10000) AS INT) AS unique_pages_count,
       SUBSTRING(MIN(event_key || page_url) FROM 63) AS landing_page,
       NULLIF(SUBSTRING(MIN(CASE WHEN page_url IS NOT NULL
                                 THEN event_key || COALESCE(referrer, '') END) FROM 63), '')
           AS entry_referrer,
       SUBSTRING(MAX(event_key || page_url) FROM 63) AS exit_page,
       CAST(COALESCE(SUM(revenue), 0) AS DECIMAL(38, 4)) AS total_revenue,
       LEAST(COUNT(DISTINCT order_id), 10000)
           + COUNT(*) FILTER (WHERE is_purchase AND order_id IS NULL) AS orders_count,
       '[' || COALESCE(LISTAGG(DISTINCT JSON_STRING(viewed_product), ','), '') || ']'
           AS products_viewed,
       CAST(LEAST(COUNT(DISTINCT viewed_product), 10000) AS INT) AS products_viewed_count,
       '[' || COALESCE(LISTAGG(DISTINCT JSON_STRING(search_query), ','), '') || ']'
           AS search_queries,
       '[' || COALESCE(LISTAGG(DISTINCT JSON_STRING(referrer), ','), '') || ']' AS referrers,
       CAST(LEAST(COUNT(DISTINCT referrer), 10000) AS INT) AS unique_referrers_count,
       SUBSTRING(MIN(event_key || user_agent) FROM 63) AS user_agent,
       SUBSTRING(MIN(event_key || ip_address) FROM 63) AS ip_address,
       SUBSTRING(MIN(event_key || device_type) FROM 63) AS device_type,
       SUBSTRING(MIN(event_key || country) FROM 63) AS country,
       NOT (MAX(event_time) > MIN(event_time) + INTERVAL '10' SECOND
            OR COUNT(*) FILTER (WHERE is_purchase) > 0
            OR COUNT(*) FILTER (WHERE event_type = 'page_view') >= 2) AS is_bounce,
       CAST(CAST(SUM(engaged_ms) AS DECIMAL(20, 0)) / 1000 AS DECIMAL(20, 3)) AS engaged_seconds
FROM TABLE(SESSION(TABLE events PARTITION BY user_id, DESCRIPTOR(row_time), INTERVAL '30' MINUTE))
GROUP BY user_id, window_start, window_end;

-- Late events: their session may be closed already.
INSERT INTO flink_late_events
SELECT kafka_partition, kafka_offset, user_id, event_time, LOWER(event_id), event_type,
       TIMESTAMPDIFF(SECOND, row_time, CURRENT_WATERMARK(row_time))
FROM clicks
WHERE problem IS NULL
  AND row_time <= CURRENT_WATERMARK(row_time) + INTERVAL '0.001' SECOND;

-- Records that are no event, with the fields as they were read.
INSERT INTO flink_dead_letters
SELECT kafka_partition, kafka_offset, problem,
       JSON_OBJECT(
           'event_id' VALUE event_id, 'event_type' VALUE event_type, 'timestamp' VALUE `timestamp`,
           'user_id' VALUE user_id, 'page_url' VALUE page_url, 'referrer' VALUE referrer,
           'user_agent' VALUE user_agent, 'ip_address' VALUE ip_address,
           'device_type' VALUE device_type, 'country' VALUE country, 'city' VALUE city,
           'success' VALUE success, 'product_id' VALUE product_id,
           'product_category' VALUE product_category, 'price' VALUE price,
           'quantity' VALUE quantity, 'order_id' VALUE order_id, 'search_query' VALUE search_query,
           'element_id' VALUE element_id, 'viewport_size' VALUE viewport_size,
           'article_id' VALUE article_id, 'article_category' VALUE article_category,
           'visit_id' VALUE visit_id, 'engaged_ms' VALUE engaged_ms ABSENT ON NULL)
FROM clicks
WHERE problem IS NOT NULL;

INSERT INTO flink_dead_letters
SELECT kafka_partition, kafka_offset, 'not_json', REPLACE(`value`, CHR(0), U&'\FFFD')
FROM records
WHERE `value` IS NULL OR `value` IS NOT JSON OBJECT;

END
