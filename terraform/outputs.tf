# `python -m clickstream env` reads these: an output named like a setting in lower case becomes that
# setting, the three PEM texts become the files in certs/.

# == Kafka ========================================================================================

output "kafka_bootstrap_servers" {
  description = "Host and port that clients with a certificate connect to."
  value       = "${aiven_kafka.this.service_host}:${aiven_kafka.this.service_port}"
}

output "kafka_topic" {
  description = "Topic of the events."
  value       = aiven_kafka_topic.events.topic_name
}

output "kafka_topic_partitions" {
  description = "Number of partitions of the topic."
  value       = aiven_kafka_topic.events.partitions
}

output "project_ca_cert" {
  description = "Certificate (PEM) that signed those of Kafka and PostgreSQL: certs/ca.pem."
  value       = data.aiven_project.this.ca_cert
  sensitive   = true
}

output "kafka_access_cert" {
  description = "The pipeline's client certificate (PEM), valid for 820 days: certs/service.cert."
  value       = aiven_kafka_user.pipeline.access_cert
  sensitive   = true
}

output "kafka_access_key" {
  description = "Private key (PEM) of the client certificate: certs/service.key."
  value       = aiven_kafka_user.pipeline.access_key
  sensitive   = true
}

output "schema_registry_url" {
  description = "Address of the schema registry, for event.schema.json and other people's producers."
  value       = try([for part in aiven_kafka.this.components : "https://${part.host}:${part.port}" if part.component == "schema_registry" && part.route == "dynamic"][0], "")
}

# == PostgreSQL ===================================================================================

output "postgres_host" {
  description = "Host of PostgreSQL."
  value       = aiven_pg.this.service_host
}

output "postgres_port" {
  description = "Port of PostgreSQL."
  value       = aiven_pg.this.service_port
}

output "postgres_database" {
  description = "The pipeline's database."
  value       = aiven_pg_database.clickstream.database_name
}

output "postgres_user" {
  description = "The pipeline's role; it owns the tables."
  value       = aiven_pg_user.pipeline.username
}

output "postgres_password" {
  description = "Its password."
  value       = aiven_pg_user.pipeline.password
  sensitive   = true
}

output "postgres_admin_user" {
  description = "Role that owns the database; `python -m clickstream grant` acts as it, once."
  value       = aiven_pg.this.service_username
}

output "postgres_admin_password" {
  description = "Its password, which is written to no file."
  value       = aiven_pg.this.service_password
  sensitive   = true
}

# == OpenSearch (empty if there is no service) ====================================================

output "opensearch_sink" {
  description = "Who writes to OpenSearch: consumer, connector or none. OPENSEARCH_HOST is set for consumer only."
  value       = var.opensearch_sink
}

output "opensearch_host" {
  description = "Host of OpenSearch."
  value       = one(aiven_opensearch.this[*].service_host)
}

output "opensearch_port" {
  description = "Port of OpenSearch."
  value       = one(aiven_opensearch.this[*].service_port)
}

output "opensearch_user" {
  description = "The pipeline's user, for its own indexes only."
  value       = one(aiven_opensearch_user.pipeline[*].username)
}

output "opensearch_password" {
  description = "Its password."
  value       = one(aiven_opensearch_user.pipeline[*].password)
  sensitive   = true
}

output "opensearch_dashboards_url" {
  description = "OpenSearch Dashboards, for a browser."
  value       = try([for part in aiven_opensearch.this[0].components : "https://${part.host}:${part.port}" if part.component == "opensearch_dashboards" && part.route == "dynamic"][0], "")
}

output "opensearch_admin_user" {
  description = "User who may do everything in OpenSearch, to log in to Dashboards with."
  value       = one(aiven_opensearch.this[*].service_username)
}

output "opensearch_admin_password" {
  description = "Its password."
  value       = one(aiven_opensearch.this[*].service_password)
  sensitive   = true
}
