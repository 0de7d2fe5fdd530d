-- Sessions of flink_sessions and session_metrics that differ, by visitor and time of the first event:
-- both sides as JSON, NULL on the side that lacks the session, and the number of the visitor's late
-- events. An open session of session_metrics is compared only if flink_sessions has it, too:
-- flink_sessions has no open sessions.

WITH flink AS (
    SELECT user_id, total_events, event_type_counts::jsonb AS event_type_counts,
           first_event_timestamp, last_event_timestamp,
           first_event_id::uuid AS first_event_id, last_event_id::uuid AS last_event_id,
           sorted_pages AS unique_pages, unique_pages_count,
           landing_page, entry_referrer, exit_page, total_revenue, orders_count,
           sorted_products AS products_viewed, products_viewed_count,
           sorted_queries AS search_queries,
           sorted_referrers AS referrers, unique_referrers_count,
           user_agent, ip_address::inet AS ip_address, device_type, country, is_bounce,
           engaged_seconds
    FROM flink_sessions
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(value ORDER BY value COLLATE "C"), '[]') AS sorted_pages
        FROM jsonb_array_elements_text(unique_pages::jsonb) AS value) AS pages
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(value ORDER BY value COLLATE "C"), '[]') AS sorted_products
        FROM jsonb_array_elements_text(products_viewed::jsonb) AS value) AS products
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(value ORDER BY value COLLATE "C"), '[]') AS sorted_queries
        FROM jsonb_array_elements_text(search_queries::jsonb) AS value) AS queries
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(value ORDER BY value COLLATE "C"), '[]') AS sorted_referrers
        FROM jsonb_array_elements_text(referrers::jsonb) AS value) AS sources
),

ours AS (
    SELECT user_id, total_events, event_type_counts, first_event_timestamp, last_event_timestamp,
           first_event_id, last_event_id, unique_pages, unique_pages_count, landing_page,
           entry_referrer, exit_page, total_revenue, orders_count, products_viewed,
           products_viewed_count, search_queries, referrers, unique_referrers_count,
           user_agent, ip_address, device_type, country, is_bounce, engaged_seconds,
           closed_at
    FROM session_metrics
)

SELECT user_id, to_json(first_event_timestamp) #>> '{}',
       (to_jsonb(o) - 'closed_at')::text, to_jsonb(f)::text,
       (SELECT count(*) FROM flink_late_events l WHERE l.user_id = coalesce(f.user_id, o.user_id))
FROM flink f FULL JOIN ours o USING (user_id, first_event_timestamp)
WHERE to_jsonb(f) IS DISTINCT FROM to_jsonb(o) - 'closed_at'
  AND (f.user_id IS NOT NULL OR o.closed_at IS NOT NULL)
ORDER BY user_id, first_event_timestamp
