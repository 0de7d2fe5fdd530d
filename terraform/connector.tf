# Only with opensearch_sink = "connector": Kafka Connect writes the events to OpenSearch.

resource "aiven_kafka_connect" "this" {
  count = local.connector_enabled ? 1 : 0

  project      = var.project
  cloud_name   = var.cloud_name
  plan         = var.kafka_connect_plan
  service_name = "${var.name_prefix}-connect"

  termination_protection  = var.termination_protection
  maintenance_window_dow  = local.maintenance_day
  maintenance_window_time = local.maintenance_time

  kafka_connect_user_config {
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

resource "aiven_service_integration" "connect" {
  count = local.connector_enabled ? 1 : 0

  project                  = var.project
  integration_type         = "kafka_connect"
  source_service_name      = aiven_kafka.this.service_name
  destination_service_name = aiven_kafka_connect.this[0].service_name
}

# Dead letters: records that the connector could not read or OpenSearch refused.
resource "aiven_kafka_topic" "dead_letters" {
  count = local.connector_enabled ? 1 : 0

  project      = var.project
  service_name = aiven_kafka.this.service_name
  topic_name   = "${var.kafka_topic}-dead-letters"
  partitions   = 1
  replication  = var.kafka_topic_replication

  config {
    min_insync_replicas = tostring(var.kafka_topic_min_insync_replicas)
    retention_ms        = tostring(local.retention_ms)
  }
}

locals {
  connector_name = "clickstream-opensearch"
}

resource "aiven_kafka_connector" "opensearch" {
  count = local.connector_enabled ? 1 : 0

  project        = var.project
  service_name   = aiven_kafka_connect.this[0].service_name
  connector_name = local.connector_name

  config = {
    "name"            = local.connector_name # must be connector_name
    "connector.class" = "io.aiven.kafka.connect.opensearch.OpensearchSinkConnector"
    "topics"          = aiven_kafka_topic.events.topic_name
    "tasks.max"       = "1"

    "connection.url"      = "https://${aiven_opensearch.this[0].service_host}:${aiven_opensearch.this[0].service_port}"
    "connection.username" = aiven_opensearch_user.pipeline[0].username
    "connection.password" = aiven_opensearch_user.pipeline[0].password
    "type.name"           = "_doc"

    # The document id is topic, partition and offset, so that a redelivered record overwrites itself. The
    # record's key is the visitor: as document id it would leave one event per visitor.
    "key.ignore" = "true"

    "key.converter"                  = "org.apache.kafka.connect.storage.StringConverter"
    "value.converter"                = "org.apache.kafka.connect.json.JsonConverter"
    "value.converter.schemas.enable" = "false"
    "schema.ignore"                  = "true" # the index template has the mapping

    # The index has this name for any topic: the index template matches it.
    "transforms"                   = "index"
    "transforms.index.type"        = "org.apache.kafka.connect.transforms.RegexRouter"
    "transforms.index.regex"       = ".*"
    "transforms.index.replacement" = "clickstream-events"

    "errors.tolerance"                              = "all"
    "errors.deadletterqueue.topic.name"             = aiven_kafka_topic.dead_letters[0].topic_name
    "errors.deadletterqueue.context.headers.enable" = "true"
    "behavior.on.malformed.documents"               = "report" # as dead letters, too
    "behavior.on.version.conflict"                  = "ignore"
  }

  # The connector needs both, but refers to neither: without the integration it cannot reach Kafka,
  # without the rules it has no rights in OpenSearch.
  depends_on = [aiven_service_integration.connect, aiven_opensearch_acl_rule.pipeline]
}
