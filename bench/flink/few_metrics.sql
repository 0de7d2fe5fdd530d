-- Rows, and sessions with few metrics: the fastest job that can be compared with the consumer. The other
-- columns get a constant.
EXECUTE STATEMENT SET
BEGIN

INSERT INTO flink_events
SELECT event_id, CAST(`timestamp` AS TIMESTAMP(6)), event_type, user_id, page_url, referrer,
       user_agent, ip_address, device_type, country, city, success, product_id, product_category,
       price, quantity, order_id, search_query, element_id, viewport_size, article_id,
       article_category, visit_id, engaged_ms
FROM clicks;

INSERT INTO flink_sessions
WITH events AS (
    SELECT user_id, row_time, CAST(`timestamp` AS TIMESTAMP(6)) AS event_time,
           CASE WHEN event_type = 'purchase' THEN price * COALESCE(quantity, 1) END AS revenue
    FROM clicks
)
SELECT user_id, COUNT(*), '{}', MIN(event_time), MAX(event_time), '', '', '[]', 0,
       CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING),
       CAST(COALESCE(SUM(revenue), 0) AS DECIMAL(38, 4)), CAST(0 AS BIGINT), '[]', 0, '[]', '[]', 0,
       CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING),
       MAX(event_time) <= MIN(event_time) + INTERVAL '10' SECOND,
       CAST(NULL AS DECIMAL(20, 3))
FROM TABLE(SESSION(TABLE events PARTITION BY user_id, DESCRIPTOR(row_time), INTERVAL '30' MINUTE))
GROUP BY user_id, window_start, window_end;

END
