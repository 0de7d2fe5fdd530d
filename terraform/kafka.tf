resource "aiven_kafka" "this" {
  project      = var.project
  cloud_name   = var.cloud_name
  plan         = var.kafka_plan
  service_name = "${var.name_prefix}-kafka"

  # Without this, Aiven lets its admin user do everything on every topic, and write every schema. It has
  # an effect only when the service is created.
  default_acl = false

  termination_protection  = var.termination_protection
  maintenance_window_dow  = local.maintenance_day
  maintenance_window_time = local.maintenance_time

  kafka_user_config {
    kafka_version    = var.kafka_version
    schema_registry  = true
    ip_filter_string = local.ip_filter_string

    dynamic "ip_filter_object" {
      for_each = var.ip_filter_object
      content {
        network     = ip_filter_object.value.network
        description = ip_filter_object.value.description
      }
    }

    kafka_authentication_methods {
      certificate = true
    }

    kafka {
      # A mistyped topic is an error, not a second topic.
      auto_create_topics_enable = false
    }

    dynamic "tiered_storage" {
      for_each = var.kafka_standard ? [true] : []
      content {
        enabled = true
      }
    }

    dynamic "inkless" {
      for_each = var.kafka_standard ? [true] : []
      content {
        enabled = true
      }
    }
  }

  dynamic "tag" {
    for_each = var.tags
    content {
      key   = tag.key
      value = tag.value
    }
  }
}

resource "aiven_kafka_topic" "events" {
  project      = var.project
  service_name = aiven_kafka.this.service_name
  topic_name   = var.kafka_topic
  partitions   = var.kafka_topic_partitions
  replication  = var.kafka_topic_replication

  config {
    min_insync_replicas = tostring(var.kafka_topic_min_insync_replicas)
    retention_ms        = tostring(local.retention_ms)
  }
}

locals {
  retention_ms = var.kafka_topic_retention_hours == -1 ? -1 : var.kafka_topic_retention_hours * 60 * 60 * 1000
}

# One user for producer and consumer: both read the same .env, so a second certificate would protect
# nothing. README.md shows the user for a producer that runs elsewhere.
resource "aiven_kafka_user" "pipeline" {
  project      = var.project
  service_name = aiven_kafka.this.service_name
  username     = local.pipeline_user
}

# The right to read and write this one topic; on Aiven it includes consumer groups and idempotent writes.
# The user may not create, alter or delete any topic.
resource "aiven_kafka_acl" "pipeline" {
  project      = var.project
  service_name = aiven_kafka.this.service_name
  username     = aiven_kafka_user.pipeline.username
  topic        = aiven_kafka_topic.events.topic_name
  permission   = "readwrite"
}
