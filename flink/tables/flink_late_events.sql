-- Events that came too late for their session.
CREATE TABLE flink_late_events (
    kafka_partition INT,
    kafka_offset BIGINT,
    user_id STRING,
    event_time TIMESTAMP(6),
    event_id STRING,
    event_type STRING,
    late_by_seconds BIGINT,
    PRIMARY KEY (kafka_partition, kafka_offset) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://',
    'table-name' = 'flink_late_events'
)
