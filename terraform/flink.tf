# Only with enable_flink = true: the job of flink/ on Aiven for Apache Flink. Its tables in PostgreSQL
# must exist before; README.md says how to create them.

resource "aiven_flink" "this" {
  count = var.enable_flink ? 1 : 0

  project      = var.project
  cloud_name   = var.cloud_name
  plan         = var.flink_plan
  service_name = "${var.name_prefix}-flink"

  termination_protection  = var.termination_protection
  maintenance_window_dow  = local.maintenance_day
  maintenance_window_time = local.maintenance_time

  flink_user_config {
    flink_version    = "1.20" # the job is written for it
    ip_filter_string = local.ip_filter_string

    dynamic "ip_filter_object" {
      for_each = var.ip_filter_object
      content {
        network     = ip_filter_object.value.network
        description = ip_filter_object.value.description
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

# Aiven fills the addresses and credentials of these services into the tables of the job.
resource "aiven_service_integration" "flink" {
  for_each = var.enable_flink ? {
    kafka      = aiven_kafka.this.service_name
    postgresql = aiven_pg.this.service_name
  } : {}

  project                  = var.project
  integration_type         = "flink"
  source_service_name      = each.value
  destination_service_name = aiven_flink.this[0].service_name
}

# The integration acts as Kafka's admin user, who has no rights without a rule (see default_acl).
resource "aiven_kafka_acl" "flink" {
  count = var.enable_flink ? 1 : 0

  project      = var.project
  service_name = aiven_kafka.this.service_name
  username     = aiven_kafka.this.service_username
  topic        = aiven_kafka_topic.events.topic_name
  permission   = "read"
}

resource "aiven_flink_application" "sessions" {
  count = var.enable_flink ? 1 : 0

  project      = var.project
  service_name = aiven_flink.this[0].service_name
  name         = "clickstream-sessions"
}

resource "aiven_flink_application_version" "sessions" {
  count = var.enable_flink ? 1 : 0

  project        = var.project
  service_name   = aiven_flink.this[0].service_name
  application_id = aiven_flink_application.sessions[0].application_id
  statement      = file("${local.flink_folder}/job.sql")

  dynamic "source" {
    for_each = toset(["clicks", "records"])
    content {
      create_table = replace(
        file("${local.flink_folder}/tables/${source.value}.sql"),
        "'topic' = 'clickstream-events'", "'topic' = '${aiven_kafka_topic.events.topic_name}'"
      )
      integration_id = aiven_service_integration.flink["kafka"].integration_id
    }
  }

  dynamic "sink" {
    for_each = toset(["flink_events", "flink_sessions", "flink_late_events", "flink_dead_letters"])
    content {
      create_table   = file("${local.flink_folder}/tables/${sink.value}.sql")
      integration_id = aiven_service_integration.flink["postgresql"].integration_id
    }
  }
}

resource "aiven_flink_application_deployment" "sessions" {
  count = var.enable_flink ? 1 : 0

  project         = var.project
  service_name    = aiven_flink.this[0].service_name
  application_id  = aiven_flink_application.sessions[0].application_id
  version_id      = aiven_flink_application_version.sessions[0].application_version_id
  parallelism     = var.flink_parallelism
  restart_enabled = true

  # Without this rule the job cannot read the topic.
  depends_on = [aiven_kafka_acl.flink]
}

locals {
  flink_folder = "${path.module}/../flink"
}
