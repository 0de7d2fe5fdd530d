# The resources if only the project's name is given.

mock_provider "aiven" {
  mock_resource "aiven_kafka" {
    defaults = {
      service_host = "kafka.example"
      service_port = 12835
      components = [
        { component = "kafka", connection_uri = "", host = "kafka.example", kafka_authentication_method = "certificate", kafka_ssl_ca = "project_ca", path = "", port = 12835, route = "dynamic", ssl = true, usage = "primary" },
        { component = "schema_registry", connection_uri = "", host = "kafka.example", kafka_authentication_method = "", kafka_ssl_ca = "", path = "", port = 12838, route = "dynamic", ssl = true, usage = "primary" },
      ]
    }
  }
  mock_resource "aiven_opensearch" {
    defaults = {
      components = [
        { component = "opensearch_dashboards", connection_uri = "", host = "search.example", kafka_authentication_method = "", kafka_ssl_ca = "", path = "", port = 443, route = "public", ssl = true, usage = "primary" },
        { component = "opensearch_dashboards", connection_uri = "", host = "search.example", kafka_authentication_method = "", kafka_ssl_ca = "", path = "", port = 443, route = "dynamic", ssl = true, usage = "primary" },
      ]
    }
  }
}

variables {
  project = "my-project"
}

run "services_share_project_region_and_prefix" {
  assert {
    condition = alltrue([
      for service in [aiven_kafka.this, aiven_pg.this, aiven_opensearch.this[0]] :
      service.project == "my-project" && service.cloud_name == "google-europe-west1" && startswith(service.service_name, "clickstream-")
    ])
    error_message = "Every service must be in the project and the region given, and begin with the prefix."
  }
  assert {
    condition     = [aiven_kafka.this.plan, aiven_pg.this.plan, aiven_opensearch.this[0].plan] == ["startup-4", "hobbyist", "startup-4"]
    error_message = "The smallest plans must be the default."
  }
  assert {
    condition     = length(aiven_kafka_connect.this) + length(aiven_kafka_connector.opensearch) + length(aiven_kafka_topic.dead_letters) == 0
    error_message = "Kafka Connect must be off by default."
  }
  assert {
    condition     = length(aiven_flink.this) + length(aiven_service_integration.flink) + length(aiven_kafka_acl.flink) + length(aiven_flink_application_deployment.sessions) == 0
    error_message = "Flink must be off by default."
  }
  assert {
    condition     = toset([for service in [aiven_kafka.this.kafka_user_config, aiven_pg.this.pg_user_config, aiven_opensearch.this[0].opensearch_user_config] : service[0].ip_filter_string]) == toset([toset(["0.0.0.0/0", "::/0"])])
    error_message = "Without a filter the open one must be set outright."
  }
}

run "kafka_grants_one_user_one_topic" {
  assert {
    condition     = aiven_kafka.this.default_acl == false
    error_message = "The wildcard ACL must not be created."
  }
  assert {
    condition     = aiven_kafka.this.kafka_user_config[0].kafka_authentication_methods[0].certificate && aiven_kafka.this.kafka_user_config[0].schema_registry && !aiven_kafka.this.kafka_user_config[0].kafka[0].auto_create_topics_enable
    error_message = "Kafka must want certificates, offer the schema registry and create no topic by itself."
  }
  assert {
    condition     = aiven_kafka_acl.pipeline.permission == "readwrite" && aiven_kafka_acl.pipeline.topic == "clickstream-events" && aiven_kafka_acl.pipeline.username == aiven_kafka_user.pipeline.username
    error_message = "The pipeline's user must read and write the events' topic and nothing else."
  }
  assert {
    condition     = aiven_kafka_topic.events.partitions == 6 && aiven_kafka_topic.events.replication == 3
    error_message = "Six partitions, three copies each."
  }
  assert {
    condition     = aiven_kafka_topic.events.config[0].retention_ms == "604800000" && aiven_kafka_topic.events.config[0].min_insync_replicas == "2"
    error_message = "Seven days, and two copies before a record is acknowledged, as the strings that the provider wants."
  }
}

run "opensearch_grants_the_pipelines_indexes_only" {
  assert {
    condition     = aiven_opensearch.this[0].opensearch_user_config[0].opensearch_dashboards[0].enabled
    error_message = "Dashboards must be there."
  }
  assert {
    condition     = aiven_opensearch_acl_config.this[0].enabled && aiven_opensearch_acl_config.this[0].extended_acl
    error_message = "Index rules must be in force, for _bulk too."
  }
  assert {
    condition     = toset([for rule in aiven_opensearch_acl_rule.pipeline : "${rule.username} ${rule.permission} ${rule.index}"]) == toset(["clickstream admin clickstream-events*", "clickstream admin clickstream-search-state", "clickstream admin clickstream-sessions*"])
    error_message = "The pipeline's user must have its own indexes and nothing else, and may delete them."
  }
}

run "outputs_are_what_the_scripts_need" {
  assert {
    condition     = output.kafka_bootstrap_servers == "kafka.example:12835" && output.kafka_topic == "clickstream-events" && output.kafka_topic_partitions == 6
    error_message = "Kafka's outputs."
  }
  assert {
    condition     = output.schema_registry_url == "https://kafka.example:12838"
    error_message = "The schema registry's address comes from the service's components."
  }
  assert {
    condition     = output.opensearch_dashboards_url == "https://search.example:443"
    error_message = "The address of Dashboards comes from the service's components."
  }
  assert {
    condition     = output.postgres_host == aiven_pg.this.service_host && output.postgres_port == aiven_pg.this.service_port && output.postgres_database == "clickstream" && output.postgres_user == "clickstream"
    error_message = "PostgreSQL's outputs."
  }
  assert {
    condition     = output.opensearch_sink == "consumer" && output.opensearch_host == aiven_opensearch.this[0].service_host && output.opensearch_user == "clickstream"
    error_message = "OpenSearch's outputs."
  }
}

run "secrets_are_sensitive_and_nothing_else_is" {
  assert {
    condition = alltrue([
      issensitive(output.project_ca_cert), issensitive(output.kafka_access_cert), issensitive(output.kafka_access_key),
      issensitive(output.postgres_password), issensitive(output.postgres_admin_password),
      issensitive(output.opensearch_password), issensitive(output.opensearch_admin_password),
    ])
    error_message = "Certificates, keys and passwords must be sensitive."
  }
  assert {
    condition = !anytrue([
      issensitive(output.kafka_bootstrap_servers), issensitive(output.kafka_topic), issensitive(output.kafka_topic_partitions), issensitive(output.schema_registry_url),
      issensitive(output.postgres_host), issensitive(output.postgres_port), issensitive(output.postgres_database), issensitive(output.postgres_user), issensitive(output.postgres_admin_user),
      issensitive(output.opensearch_sink), issensitive(output.opensearch_host), issensitive(output.opensearch_port), issensitive(output.opensearch_user), issensitive(output.opensearch_dashboards_url), issensitive(output.opensearch_admin_user),
    ])
    error_message = "What is no secret must be readable."
  }
}
