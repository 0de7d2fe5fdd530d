# Invalid values of variables are refused before anything is planned.

mock_provider "aiven" {}

variables {
  project = "my-project"
}

run "project_with_a_space" {
  command = plan
  variables {
    project = "my project"
  }
  expect_failures = [var.project]
}

run "project_empty" {
  command = plan
  variables {
    project = ""
  }
  expect_failures = [var.project]
}

run "region_without_its_provider" {
  command = plan
  variables {
    cloud_name = "europe-west1"
  }
  expect_failures = [var.cloud_name]
}

run "region_in_capitals" {
  command = plan
  variables {
    cloud_name = "AWS-EU-CENTRAL-1"
  }
  expect_failures = [var.cloud_name]
}

run "prefix_in_capitals" {
  command = plan
  variables {
    name_prefix = "Clickstream"
  }
  expect_failures = [var.name_prefix]
}

run "prefix_with_an_underscore" {
  command = plan
  variables {
    name_prefix = "click_stream"
  }
  expect_failures = [var.name_prefix]
}

run "prefix_that_begins_with_a_digit" {
  command = plan
  variables {
    name_prefix = "1shop"
  }
  expect_failures = [var.name_prefix]
}

run "prefix_that_ends_with_a_hyphen" {
  command = plan
  variables {
    name_prefix = "shop-"
  }
  expect_failures = [var.name_prefix]
}

run "prefix_of_41_characters" {
  command = plan
  variables {
    name_prefix = "a2345678901234567890123456789012345678901"
  }
  expect_failures = [var.name_prefix]
}

run "kafka_plan_in_capitals" {
  command = plan
  variables {
    kafka_plan = "Startup-4"
  }
  expect_failures = [var.kafka_plan]
}

run "kafka_plan_that_is_gone" {
  command = plan
  variables {
    kafka_plan = "startup-2"
  }
  expect_failures = [var.kafka_plan]
}

run "kafka_version_as_a_number" {
  command = plan
  variables {
    kafka_version = 4.0
  }
  expect_failures = [var.kafka_version]
}

run "kafka_version_with_a_patch" {
  command = plan
  variables {
    kafka_version = "4.0.1"
  }
  expect_failures = [var.kafka_version]
}

run "kafka_version_that_nobody_has" {
  command = plan
  variables {
    kafka_version = "9.9"
  }
  expect_failures = [var.kafka_version]
}

run "standard_kafka_of_an_old_version" {
  command = plan
  variables {
    kafka_standard = true
    kafka_version  = "3.9"
  }
  expect_failures = [var.kafka_standard]
}

run "topic_with_a_space" {
  command = plan
  variables {
    kafka_topic = "my events"
  }
  expect_failures = [var.kafka_topic]
}

run "topic_of_one_dot" {
  command = plan
  variables {
    kafka_topic = "."
  }
  expect_failures = [var.kafka_topic]
}

run "no_partitions" {
  command = plan
  variables {
    kafka_topic_partitions = 0
  }
  expect_failures = [var.kafka_topic_partitions]
}

run "too_many_partitions" {
  command = plan
  variables {
    kafka_topic_partitions = 10001
  }
  expect_failures = [var.kafka_topic_partitions]
}

run "half_a_partition" {
  command = plan
  variables {
    kafka_topic_partitions = "2.5"
  }
  expect_failures = [var.kafka_topic_partitions]
}

run "more_partitions_than_the_free_plan_has" {
  command = plan
  variables {
    kafka_plan = "free-0"
  }
  expect_failures = [var.kafka_topic_partitions]
}

run "no_replication" {
  command = plan
  variables {
    kafka_topic_replication = 0
  }
  expect_failures = [var.kafka_topic_replication]
}

run "more_copies_than_any_plan_has_brokers" {
  command = plan
  variables {
    kafka_topic_replication = 16
  }
  expect_failures = [var.kafka_topic_replication]
}

run "as_many_in_sync_as_there_are" {
  command = plan
  variables {
    kafka_topic_min_insync_replicas = 3
  }
  expect_failures = [var.kafka_topic_min_insync_replicas]
}

run "none_in_sync" {
  command = plan
  variables {
    kafka_topic_min_insync_replicas = 0
  }
  expect_failures = [var.kafka_topic_min_insync_replicas]
}

run "no_retention" {
  command = plan
  variables {
    kafka_topic_retention_hours = 0
  }
  expect_failures = [var.kafka_topic_retention_hours]
}

run "retention_of_half_an_hour" {
  command = plan
  variables {
    kafka_topic_retention_hours = 0.5
  }
  expect_failures = [var.kafka_topic_retention_hours]
}

run "retention_below_unlimited" {
  command = plan
  variables {
    kafka_topic_retention_hours = -2
  }
  expect_failures = [var.kafka_topic_retention_hours]
}

run "postgres_plan_with_a_space" {
  command = plan
  variables {
    postgres_plan = "startup 4"
  }
  expect_failures = [var.postgres_plan]
}

run "free_postgres_outside_digitalocean" {
  command = plan
  variables {
    postgres_plan = "free-1-1gb"
  }
  expect_failures = [var.postgres_plan]
}

run "postgres_version_too_old" {
  command = plan
  variables {
    postgres_version = "12"
  }
  expect_failures = [var.postgres_version]
}

run "postgres_version_with_a_minor" {
  command = plan
  variables {
    postgres_version = "17.2"
  }
  expect_failures = [var.postgres_version]
}

run "postgres_version_that_nobody_has" {
  command = plan
  variables {
    postgres_version = "99"
  }
  expect_failures = [var.postgres_version]
}

run "unknown_sink" {
  command = plan
  variables {
    opensearch_sink = "follower"
  }
  expect_failures = [var.opensearch_sink]
}

run "connector_on_the_free_plan" {
  command = plan
  variables {
    opensearch_sink        = "connector"
    kafka_plan             = "free-0"
    kafka_topic_partitions = 2
  }
  expect_failures = [var.opensearch_sink]
}

run "opensearch_plan_in_capitals" {
  command = plan
  variables {
    opensearch_plan = "STARTUP-4"
  }
  expect_failures = [var.opensearch_plan]
}

run "free_opensearch" {
  command = plan
  variables {
    opensearch_plan = "free-0"
  }
  expect_failures = [var.opensearch_plan]
}

run "opensearch_version_too_old" {
  command = plan
  variables {
    opensearch_version = "1.3"
  }
  expect_failures = [var.opensearch_version]
}

run "opensearch_version_that_nobody_has" {
  command = plan
  variables {
    opensearch_version = "219"
  }
  expect_failures = [var.opensearch_version]
}

run "connect_plan_with_a_space" {
  command = plan
  variables {
    kafka_connect_plan = "startup 4"
  }
  expect_failures = [var.kafka_connect_plan]
}

run "flink_on_the_free_plan" {
  command = plan
  variables {
    enable_flink           = true
    kafka_plan             = "free-0"
    kafka_topic_partitions = 2
  }
  expect_failures = [var.enable_flink]
}

run "flink_plan_in_capitals" {
  command = plan
  variables {
    flink_plan = "Business-4"
  }
  expect_failures = [var.flink_plan]
}

run "no_parallelism" {
  command = plan
  variables {
    flink_parallelism = 0
  }
  expect_failures = [var.flink_parallelism]
}

run "half_a_parallelism" {
  command = plan
  variables {
    flink_parallelism = 1.5
  }
  expect_failures = [var.flink_parallelism]
}

run "address_without_its_mask" {
  command = plan
  variables {
    ip_filter_string = ["203.0.113.7"]
  }
  expect_failures = [var.ip_filter_string]
}

run "both_filters" {
  command = plan
  variables {
    ip_filter_string = ["203.0.113.0/24"]
    ip_filter_object = [{ network = "203.0.113.0/24" }]
  }
  expect_failures = [var.ip_filter_string]
}

run "described_address_without_its_mask" {
  command = plan
  variables {
    ip_filter_object = [{ network = "office" }]
  }
  expect_failures = [var.ip_filter_object]
}

run "maintenance_without_a_time" {
  command = plan
  variables {
    maintenance_window = { day = "sunday" }
  }
  expect_failures = [var.maintenance_window]
}

run "maintenance_without_a_day" {
  command = plan
  variables {
    maintenance_window = { time = "03:00:00" }
  }
  expect_failures = [var.maintenance_window]
}

run "maintenance_on_an_abbreviated_day" {
  command = plan
  variables {
    maintenance_window = { day = "sun", time = "03:00:00" }
  }
  expect_failures = [var.maintenance_window]
}

run "maintenance_without_seconds" {
  command = plan
  variables {
    maintenance_window = { day = "sunday", time = "03:00" }
  }
  expect_failures = [var.maintenance_window]
}

run "maintenance_at_25_hours" {
  command = plan
  variables {
    maintenance_window = { day = "sunday", time = "25:00:00" }
  }
  expect_failures = [var.maintenance_window]
}

run "tag_that_begins_with_a_digit" {
  command = plan
  variables {
    tags = { "1st" = "yes" }
  }
  expect_failures = [var.tags]
}

run "tag_with_a_long_value" {
  command = plan
  variables {
    tags = { note = "12345678901234567890123456789012345678901234567890123456789012345" }
  }
  expect_failures = [var.tags]
}

run "the_limits_themselves_are_allowed" {
  command = plan
  variables {
    name_prefix                     = "a234567890123456789012345678901234567890"
    kafka_topic                     = "clickstream_events.v2"
    kafka_topic_partitions          = 1
    kafka_topic_replication         = 1
    kafka_topic_min_insync_replicas = 1
    kafka_topic_retention_hours     = 1
    postgres_version                = "13"
    opensearch_version              = "2"
    maintenance_window              = { day = "monday", time = "00:00:00" }
  }
}
