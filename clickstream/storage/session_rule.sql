-- The session rule for all of clickstream_events, by gaps and islands.
-- model/sessions.py states the same rule event by event, and a property test compares the two.
--
-- Parameters: timeout (interval), start_events and end_events (text arrays), negative_hash (boolean:
-- only the visitors whose hash is negative, or only the others; NULL: all visitors).
-- A SELECT follows the last line. It reads `recomputed`, the sessions by the rule, and `stored`,
-- the same columns of session_metrics. Columns that it does not read cost nothing.
--
-- All windows and the grouping use one order, so that the events are sorted once. The distinct
-- values of one session are held in memory; everything else is aggregated row by row.

WITH with_previous AS (
    SELECT user_id, event_time, event_id, event_type, page_url, referrer, user_agent, ip_address,
           device_type, country, product_id, price, quantity, order_id, search_query, engaged_ms,
           lag(event_time) OVER visitor AS previous_time,
           lag(event_type) OVER visitor AS previous_type
    FROM clickstream_events
    WHERE %(negative_hash)s::boolean IS NULL OR (hashtext(user_id) < 0) = %(negative_hash)s
    WINDOW visitor AS (PARTITION BY user_id ORDER BY event_time, event_id)
),

numbered AS (
    SELECT *,
           count(*) FILTER (
               WHERE previous_time IS NULL
                  OR event_time - previous_time > %(timeout)s::interval
                  OR event_type = ANY (%(start_events)s::text[])
                  OR previous_type = ANY (%(end_events)s::text[])
           ) OVER (PARTITION BY user_id ORDER BY event_time, event_id ROWS UNBOUNDED PRECEDING)
               AS session_number
    FROM with_previous
),

-- Running counts of a session's events and of the values of a column. The value at which the count
-- reaches 1 is the first.
counted AS (
    SELECT *,
           count(*) OVER so_far AS nth_event,
           count(*) OVER whole AS events,
           count(page_url) OVER so_far AS nth_page,
           count(page_url) OVER whole AS pages,
           count(user_agent) OVER so_far AS nth_user_agent,
           count(ip_address) OVER so_far AS nth_ip_address,
           count(device_type) OVER so_far AS nth_device_type,
           count(country) OVER so_far AS nth_country
    FROM numbered
    WINDOW whole AS (PARTITION BY user_id, session_number),
           so_far AS (PARTITION BY user_id, session_number
                      ORDER BY event_time, event_id ROWS UNBOUNDED PRECEDING)
),

grouped AS (
    SELECT
        user_id,
        count(*) AS total_events,
        -- The types that are shown, with their numbers.
        (SELECT jsonb_object_agg(event_type, number)
         FROM (SELECT event_type, count(*) AS number,
                      sum(octet_length(to_json(event_type)::text) + 1) OVER (ORDER BY event_type)
                          AS bytes
               FROM unnest(array_agg(event_type COLLATE "C")) AS event_type
               GROUP BY event_type ORDER BY event_type LIMIT 1000) AS types
         WHERE bytes < 262144) AS event_type_counts,
        min(event_time) AS first_event_timestamp,
        max(event_time) AS last_event_timestamp,
        (max(event_id::text) FILTER (WHERE nth_event = 1))::uuid AS first_event_id,
        (max(event_id::text) FILTER (WHERE nth_event = events))::uuid AS last_event_id,
        array_agg(DISTINCT page_url) FILTER (WHERE page_url IS NOT NULL) AS unique_pages,
        max(page_url) FILTER (WHERE nth_page = 1) AS landing_page,
        -- Events without a page after the first page have the same nth_page.
        max(referrer) FILTER (WHERE nth_page = 1 AND page_url IS NOT NULL) AS entry_referrer,
        max(page_url) FILTER (WHERE nth_page = pages) AS exit_page,
        sum(price * coalesce(quantity, 1)) FILTER (WHERE event_type = 'purchase') AS total_revenue,
        count(DISTINCT order_id) FILTER (WHERE event_type = 'purchase') AS orders,
        count(*) FILTER (WHERE event_type = 'purchase' AND order_id IS NULL) AS lone_lines,
        array_agg(DISTINCT product_id) FILTER (
            WHERE product_id IS NOT NULL
              AND event_type IN ('page_view', 'click', 'hover', 'scroll', 'add_to_cart')
        ) AS products_viewed,
        array_agg(DISTINCT search_query) FILTER (
            WHERE search_query IS NOT NULL AND event_type = 'search'
        ) AS search_queries,
        array_agg(DISTINCT referrer) FILTER (WHERE referrer IS NOT NULL) AS referrers,
        max(user_agent) FILTER (WHERE nth_user_agent = 1) AS user_agent,
        max(ip_address) FILTER (WHERE nth_ip_address = 1) AS ip_address,
        max(device_type) FILTER (WHERE nth_device_type = 1) AS device_type,
        max(country) FILTER (WHERE nth_country = 1) AS country,
        sum(engaged_ms) AS engaged_ms,
        max(event_time) - min(event_time) > interval '10 seconds'
            OR count(*) FILTER (WHERE event_type = 'purchase') > 0
            OR count(*) FILTER (WHERE event_type = 'page_view') >= 2 AS is_engaged,
        max(event_type) FILTER (WHERE nth_event = events) = ANY (%(end_events)s::text[])
            AS ended_by_event
    FROM counted
    GROUP BY user_id, session_number
),

-- An array shows the 1,000 smallest values, and of these as many as fit into 256 KiB of JSON without
-- blanks: two brackets, the values, and commas between them. Mostly all of them fit, and `shown` only
-- compares sizes. Distinct values are counted up to 10,000.
recomputed AS (
    SELECT user_id, total_events, event_type_counts,
           first_event_timestamp, last_event_timestamp, first_event_id, last_event_id,
           coalesce(to_jsonb(unique_pages[:shown_pages]), '[]') AS unique_pages,
           least(coalesce(cardinality(unique_pages), 0), 10000) AS unique_pages_count,
           landing_page, entry_referrer, exit_page,
           coalesce(total_revenue, 0) AS total_revenue,
           least(orders, 10000) + lone_lines AS orders_count,
           coalesce(to_jsonb(products_viewed[:shown_products]), '[]') AS products_viewed,
           least(coalesce(cardinality(products_viewed), 0), 10000) AS products_viewed_count,
           coalesce(to_jsonb(search_queries[:shown_queries]), '[]') AS search_queries,
           coalesce(to_jsonb(referrers[:shown_referrers]), '[]') AS referrers,
           least(coalesce(cardinality(referrers), 0), 10000) AS unique_referrers_count,
           user_agent, ip_address, device_type, country,
           NOT is_engaged AS is_bounce,
           (engaged_ms::numeric / 1000)::numeric(20, 3) AS engaged_seconds,
           ended_by_event
    FROM grouped
    CROSS JOIN LATERAL (
        SELECT coalesce(max(number) FILTER (WHERE name = 'pages'), 1000) AS shown_pages,
               coalesce(max(number) FILTER (WHERE name = 'products'), 1000) AS shown_products,
               coalesce(max(number) FILTER (WHERE name = 'queries'), 1000) AS shown_queries,
               coalesce(max(number) FILTER (WHERE name = 'referrers'), 1000) AS shown_referrers
        FROM (VALUES ('pages', unique_pages[:1000]), ('products', products_viewed[:1000]),
                     ('queries', search_queries[:1000]), ('referrers', referrers[:1000]))
             AS sets (name, smallest)
        CROSS JOIN LATERAL (
            SELECT count(*) AS number
            FROM (SELECT sum(octet_length(to_json(value)::text) + 1) OVER (ORDER BY place) AS bytes
                  FROM unnest(smallest) WITH ORDINALITY AS v (value, place)) AS sizes
            WHERE bytes < 262144
        ) AS fitting
        WHERE octet_length(array_to_json(smallest)::text) > 262144
    ) AS shown
),

stored AS (
    SELECT user_id, total_events, event_type_counts,
           first_event_timestamp, last_event_timestamp, first_event_id, last_event_id,
           unique_pages, unique_pages_count, landing_page, entry_referrer, exit_page,
           total_revenue, orders_count, products_viewed, products_viewed_count,
           search_queries, referrers, unique_referrers_count,
           user_agent, ip_address, device_type, country, is_bounce, engaged_seconds,
           close_reason IS NOT DISTINCT FROM 'end_event' AS ended_by_event
    FROM session_metrics
    WHERE %(negative_hash)s::boolean IS NULL OR (hashtext(user_id) < 0) = %(negative_hash)s
)
