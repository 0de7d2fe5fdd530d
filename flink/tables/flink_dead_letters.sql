-- Records that are no event: the value, or the fields as they were read, and the reason.
CREATE TABLE flink_dead_letters (
    kafka_partition INT,
    kafka_offset BIGINT,
    reason STRING,
    `value` STRING,
    PRIMARY KEY (kafka_partition, kafka_offset) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = 'jdbc:postgresql://',
    'table-name' = 'flink_dead_letters'
)
