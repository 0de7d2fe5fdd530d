-- The rows and sessions of valid events: this job does not look for duplicates, rejects no record and
-- drops late events. So it is faster than the job of flink/.
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
    SELECT user_id, row_time, event_type, page_url, referrer, user_agent, ip_address, device_type,
           country, order_id, price, quantity, engaged_ms,
           CAST(`timestamp` AS TIMESTAMP(6)) AS event_time,
           CAST(CAST(`timestamp` AS TIMESTAMP(6)) AS STRING) || event_id AS event_key,
           event_type = 'purchase' AS is_purchase,
           -- The list and the number use the same expression, so that Flink keeps the values once.
           JSON_STRING(page_url) AS page,
           JSON_STRING(referrer) AS referrer_text,
           JSON_STRING(CASE WHEN event_type IN ('page_view', 'click', 'hover', 'scroll', 'add_to_cart')
                            THEN product_id END) AS viewed_product,
           JSON_STRING(CASE WHEN event_type = 'search' THEN search_query END) AS searched_text
    FROM clicks
)
-- The value of the first event is found by the smallest key: MIN(key || value), without the 62
-- characters of the key.
SELECT user_id,
       COUNT(*),
       REGEXP_REPLACE(CAST(COLLECT(JSON_STRING(event_type)) AS STRING), '"=', '":'),
       MIN(event_time),
       MAX(event_time),
       SUBSTRING(MIN(event_key) FROM 27),
       SUBSTRING(MAX(event_key) FROM 27),
       '[' || COALESCE(LISTAGG(DISTINCT page, ','), '') || ']',
       CAST(COUNT(DISTINCT page) AS INT),
       SUBSTRING(MIN(event_key || page_url) FROM 63),
       SUBSTRING(MIN(event_key || referrer) FROM 63),
       SUBSTRING(MAX(event_key || page_url) FROM 63),
       CAST(COALESCE(SUM(price * COALESCE(quantity, 1)) FILTER (WHERE is_purchase), 0)
            AS DECIMAL(38, 4)),
       COUNT(DISTINCT order_id) FILTER (WHERE is_purchase),
       '[' || COALESCE(LISTAGG(DISTINCT viewed_product, ','), '') || ']',
       CAST(COUNT(DISTINCT viewed_product) AS INT),
       '[' || COALESCE(LISTAGG(DISTINCT searched_text, ','), '') || ']',
       '[' || COALESCE(LISTAGG(DISTINCT referrer_text, ','), '') || ']',
       CAST(COUNT(DISTINCT referrer_text) AS INT),
       SUBSTRING(MIN(event_key || user_agent) FROM 63),
       SUBSTRING(MIN(event_key || ip_address) FROM 63),
       SUBSTRING(MIN(event_key || device_type) FROM 63),
       SUBSTRING(MIN(event_key || country) FROM 63),
       NOT (MAX(event_time) > MIN(event_time) + INTERVAL '10' SECOND
            OR COUNT(*) FILTER (WHERE is_purchase) > 0
            OR COUNT(*) FILTER (WHERE event_type = 'page_view') >= 2),
       CAST(CAST(SUM(engaged_ms) AS DECIMAL(20, 0)) / 1000 AS DECIMAL(20, 3))
FROM TABLE(SESSION(TABLE events PARTITION BY user_id, DESCRIPTOR(row_time), INTERVAL '30' MINUTE))
GROUP BY user_id, window_start, window_end;

END
