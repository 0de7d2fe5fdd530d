-- The values of the same topic as they are, for the records that `clicks` cannot read.
CREATE TABLE records (
    `value` STRING,
    kafka_partition INT METADATA FROM 'partition' VIRTUAL,
    kafka_offset BIGINT METADATA FROM 'offset' VIRTUAL
) WITH (
    'connector' = 'kafka',
    'properties.bootstrap.servers' = '',
    'topic' = 'clickstream-events',
    'properties.group.id' = 'clickstream-flink',
    'properties.isolation.level' = 'read_committed',
    'scan.startup.mode' = 'earliest-offset',
    'value.format' = 'raw'
)
