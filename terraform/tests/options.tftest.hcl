# Each option, alone.

mock_provider "aiven" {}

variables {
  project = "my-project"
}

run "names_and_region" {
  variables {
    cloud_name  = "aws-eu-central-1"
    name_prefix = "shop-2"
  }
  assert {
    condition     = [aiven_kafka.this.service_name, aiven_pg.this.service_name, aiven_opensearch.this[0].service_name] == ["shop-2-kafka", "shop-2-pg", "shop-2-opensearch"]
    error_message = "Names must follow the prefix."
  }
  assert {
    condition     = toset([aiven_kafka.this.cloud_name, aiven_pg.this.cloud_name, aiven_opensearch.this[0].cloud_name]) == toset(["aws-eu-central-1"])
    error_message = "All services must be in one region."
  }
}

run "plans_and_versions" {
  variables {
    kafka_plan         = "business-4"
    kafka_version      = "3.9"
    postgres_plan      = "startup-4"
    postgres_version   = "17"
    opensearch_plan    = "business-4"
    opensearch_version = "2.19"
  }
  assert {
    condition     = [aiven_kafka.this.plan, aiven_pg.this.plan, aiven_opensearch.this[0].plan] == ["business-4", "startup-4", "business-4"]
    error_message = "Plans must be those given."
  }
  assert {
    condition     = [aiven_kafka.this.kafka_user_config[0].kafka_version, aiven_pg.this.pg_user_config[0].pg_version, aiven_opensearch.this[0].opensearch_user_config[0].opensearch_version] == ["3.9", "17", "2.19"]
    error_message = "Versions must be those given."
  }
}

run "topic" {
  variables {
    kafka_topic                     = "shop.events"
    kafka_topic_partitions          = "12" # as TF_VAR_kafka_topic_partitions gives it
    kafka_topic_replication         = 4
    kafka_topic_min_insync_replicas = 3
    kafka_topic_retention_hours     = -1
  }
  assert {
    condition     = aiven_kafka_topic.events.topic_name == "shop.events" && aiven_kafka_topic.events.partitions == 12 && aiven_kafka_topic.events.replication == 4
    error_message = "Name, partitions and copies must be those given."
  }
  assert {
    condition     = aiven_kafka_topic.events.config[0].retention_ms == "-1" && aiven_kafka_topic.events.config[0].min_insync_replicas == "3"
    error_message = "A retention without limit must stay -1."
  }
  assert {
    condition     = aiven_kafka_acl.pipeline.topic == "shop.events"
    error_message = "The right must follow the topic."
  }
}

run "a_standard_kafka" {
  variables {
    kafka_standard = true
    kafka_version  = "4.2"
  }
  assert {
    condition     = aiven_kafka.this.kafka_user_config[0].inkless[0].enabled && aiven_kafka.this.kafka_user_config[0].tiered_storage[0].enabled
    error_message = "Standard Kafka needs both switches."
  }
}

run "the_free_plans" {
  variables {
    cloud_name                      = "do-fra"
    kafka_plan                      = "free-0"
    kafka_topic_partitions          = 2
    kafka_topic_replication         = 2
    kafka_topic_min_insync_replicas = 1
    postgres_plan                   = "free-1-1gb"
    opensearch_sink                 = "none"
  }
  assert {
    condition     = aiven_kafka_topic.events.partitions == 2 && aiven_pg.this.plan == "free-1-1gb" && length(aiven_opensearch.this) == 0
    error_message = "Kafka and PostgreSQL, no OpenSearch."
  }
}

run "no_opensearch" {
  variables {
    opensearch_sink = "none"
  }
  assert {
    condition     = length(aiven_opensearch.this) + length(aiven_opensearch_user.pipeline) + length(aiven_opensearch_acl_config.this) + length(aiven_opensearch_acl_rule.pipeline) + length(aiven_kafka_connect.this) == 0
    error_message = "Nothing of OpenSearch may be left."
  }
  assert {
    condition     = output.opensearch_sink == "none" && output.opensearch_host == null && output.opensearch_dashboards_url == ""
    error_message = "Its outputs must be empty."
  }
}

run "the_connector" {
  variables {
    opensearch_sink    = "connector"
    kafka_topic        = "shop"
    kafka_connect_plan = "business-4"
  }
  assert {
    condition     = aiven_kafka_connect.this[0].plan == "business-4" && aiven_kafka_connect.this[0].service_name == "clickstream-connect" && aiven_kafka_connect.this[0].cloud_name == aiven_kafka.this.cloud_name
    error_message = "Kafka Connect must be a service of its own, in the region of the others."
  }
  assert {
    condition = (
      aiven_service_integration.connect[0].integration_type == "kafka_connect" &&
      aiven_service_integration.connect[0].source_service_name == aiven_kafka.this.service_name &&
      aiven_service_integration.connect[0].destination_service_name == aiven_kafka_connect.this[0].service_name
    )
    error_message = "Kafka must feed Kafka Connect."
  }
  assert {
    condition     = aiven_kafka_connector.opensearch[0].config["name"] == aiven_kafka_connector.opensearch[0].connector_name
    error_message = "The provider wants the name twice, the same."
  }
  assert {
    condition     = aiven_kafka_connector.opensearch[0].config["topics"] == "shop"
    error_message = "The connector must read the events' topic."
  }
  assert {
    condition = (
      aiven_kafka_connector.opensearch[0].config["transforms"] == "index" &&
      aiven_kafka_connector.opensearch[0].config["transforms.index.type"] == "org.apache.kafka.connect.transforms.RegexRouter" &&
      aiven_kafka_connector.opensearch[0].config["transforms.index.regex"] == ".*" &&
      aiven_kafka_connector.opensearch[0].config["transforms.index.replacement"] == "clickstream-events"
    )
    error_message = "The index must match the template's pattern clickstream-events* for any name of the topic."
  }
  assert {
    condition = (
      aiven_kafka_connector.opensearch[0].config["connector.class"] == "io.aiven.kafka.connect.opensearch.OpensearchSinkConnector" &&
      aiven_kafka_connector.opensearch[0].config["connection.url"] == "https://${aiven_opensearch.this[0].service_host}:${aiven_opensearch.this[0].service_port}"
    )
    error_message = "The connector must write to this OpenSearch."
  }
  assert {
    condition = (
      aiven_kafka_connector.opensearch[0].config["key.converter"] == "org.apache.kafka.connect.storage.StringConverter" &&
      aiven_kafka_connector.opensearch[0].config["value.converter"] == "org.apache.kafka.connect.json.JsonConverter" &&
      aiven_kafka_connector.opensearch[0].config["value.converter.schemas.enable"] == "false" &&
      aiven_kafka_connector.opensearch[0].config["schema.ignore"] == "true"
    )
    error_message = "The connector must read plain JSON and leave the mapping to the template."
  }
  assert {
    condition     = aiven_kafka_connector.opensearch[0].config["key.ignore"] == "true"
    error_message = "The visitor must not become the document id."
  }
  assert {
    condition     = aiven_kafka_topic.dead_letters[0].topic_name == "shop-dead-letters" && aiven_kafka_connector.opensearch[0].config["errors.deadletterqueue.topic.name"] == "shop-dead-letters"
    error_message = "What cannot be indexed must go to a topic that exists."
  }
  assert {
    condition     = aiven_kafka_connector.opensearch[0].config["errors.tolerance"] == "all" && aiven_kafka_connector.opensearch[0].config["behavior.on.malformed.documents"] == "report"
    error_message = "What cannot be indexed must not stop the rest."
  }
  assert {
    condition     = aiven_kafka_topic.dead_letters[0].config[0].retention_ms == "604800000" && aiven_kafka_topic.dead_letters[0].config[0].min_insync_replicas == "2"
    error_message = "Dead letters must be kept as long and as safely as the events."
  }
  assert {
    condition     = aiven_kafka_connector.opensearch[0].config["connection.username"] == aiven_opensearch_user.pipeline[0].username
    error_message = "The connector must have the rights of the pipeline's user, not the administrator's."
  }
  assert {
    condition     = issensitive(aiven_kafka_connector.opensearch[0].config["connection.password"])
    error_message = "The password must not show in a plan."
  }
  assert {
    condition     = output.opensearch_sink == "connector"
    error_message = "The scripts must learn that the consumer does not write to OpenSearch."
  }
}

run "flink" {
  variables {
    enable_flink      = true
    kafka_topic       = "shop"
    flink_parallelism = 3
  }
  assert {
    condition     = aiven_flink.this[0].plan == "business-4" && aiven_flink.this[0].service_name == "clickstream-flink" && aiven_flink.this[0].cloud_name == aiven_kafka.this.cloud_name
    error_message = "Flink must be a service of its own, in the region of the others."
  }
  assert {
    condition     = aiven_flink.this[0].flink_user_config[0].flink_version == "1.20"
    error_message = "The job needs the session windows of this version."
  }
  assert {
    condition = (
      toset([for each in aiven_service_integration.flink : each.source_service_name]) == toset([aiven_kafka.this.service_name, aiven_pg.this.service_name]) &&
      alltrue([for each in aiven_service_integration.flink : each.integration_type == "flink" && each.destination_service_name == aiven_flink.this[0].service_name])
    )
    error_message = "Flink must be connected with Kafka and PostgreSQL."
  }
  assert {
    condition     = aiven_kafka_acl.flink[0].permission == "read" && aiven_kafka_acl.flink[0].topic == "shop" && aiven_kafka_acl.flink[0].username == aiven_kafka.this.service_username
    error_message = "The user of the integration must be able to read the events, and no more."
  }
  assert {
    condition = (
      length(aiven_flink_application_version.sessions[0].source) == 2 &&
      alltrue([for each in aiven_flink_application_version.sessions[0].source : strcontains(each.create_table, "'topic' = 'shop'") && each.integration_id == aiven_service_integration.flink["kafka"].integration_id])
    )
    error_message = "Both sources must read the events' topic by the integration of Kafka."
  }
  assert {
    condition = (
      length(aiven_flink_application_version.sessions[0].sink) == 4 &&
      alltrue([for each in aiven_flink_application_version.sessions[0].sink : strcontains(each.create_table, "'url' = 'jdbc:postgresql://'") && each.integration_id == aiven_service_integration.flink["postgresql"].integration_id])
    )
    error_message = "Each table of the job must be written by the integration of PostgreSQL, which fills in the address."
  }
  assert {
    condition = alltrue([
      for each in aiven_flink_application_version.sessions[0].sink :
      strcontains(aiven_flink_application_version.sessions[0].statement, "INSERT INTO ${regex("CREATE TABLE (\\w+)", each.create_table)[0]}")
    ])
    error_message = "The job must write each of its tables."
  }
  assert {
    condition = (
      aiven_flink_application_deployment.sessions[0].version_id == aiven_flink_application_version.sessions[0].application_version_id &&
      aiven_flink_application_deployment.sessions[0].parallelism == 3 &&
      aiven_flink_application_deployment.sessions[0].restart_enabled
    )
    error_message = "The version must be deployed, and start again after a failure."
  }
}

run "a_filter_of_plain_networks" {
  variables {
    opensearch_sink  = "connector"
    enable_flink     = true
    ip_filter_string = ["203.0.113.0/24", "2001:db8::/32"]
  }
  assert {
    condition = alltrue([
      for config in [aiven_kafka.this.kafka_user_config, aiven_pg.this.pg_user_config, aiven_opensearch.this[0].opensearch_user_config, aiven_kafka_connect.this[0].kafka_connect_user_config, aiven_flink.this[0].flink_user_config] :
      config[0].ip_filter_string == toset(["203.0.113.0/24", "2001:db8::/32"]) && length(config[0].ip_filter_object) == 0
    ])
    error_message = "Every service must have the filter."
  }
}

run "a_filter_with_descriptions" {
  variables {
    opensearch_sink  = "connector"
    enable_flink     = true
    ip_filter_object = [{ network = "203.0.113.7/32", description = "office" }]
  }
  assert {
    condition = alltrue([
      for config in [aiven_kafka.this.kafka_user_config, aiven_pg.this.pg_user_config, aiven_opensearch.this[0].opensearch_user_config, aiven_kafka_connect.this[0].kafka_connect_user_config, aiven_flink.this[0].flink_user_config] :
      config[0].ip_filter_string == null && one(config[0].ip_filter_object).network == "203.0.113.7/32" && one(config[0].ip_filter_object).description == "office"
    ])
    error_message = "Every service must have the filter, and the open one must be gone."
  }
}

run "protection_maintenance_and_tags" {
  variables {
    opensearch_sink        = "connector"
    enable_flink           = true
    termination_protection = true
    maintenance_window     = { day = "sunday", time = "03:00:00" }
    tags                   = { team = "web", "billing:order" = "42" }
  }
  assert {
    condition = alltrue([
      for service in [aiven_kafka.this, aiven_pg.this, aiven_opensearch.this[0], aiven_kafka_connect.this[0], aiven_flink.this[0]] :
      service.termination_protection && service.maintenance_window_dow == "sunday" && service.maintenance_window_time == "03:00:00" &&
      tomap({ for tag in service.tag : tag.key => tag.value }) == tomap({ team = "web", "billing:order" = "42" })
    ])
    error_message = "Every service must have them."
  }
}
