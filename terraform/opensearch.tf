resource "aiven_opensearch" "this" {
  count = local.opensearch_enabled ? 1 : 0

  project      = var.project
  cloud_name   = var.cloud_name
  plan         = var.opensearch_plan
  service_name = "${var.name_prefix}-opensearch"

  termination_protection  = var.termination_protection
  maintenance_window_dow  = local.maintenance_day
  maintenance_window_time = local.maintenance_time

  opensearch_user_config {
    opensearch_version = var.opensearch_version
    ip_filter_string   = local.ip_filter_string

    dynamic "ip_filter_object" {
      for_each = var.ip_filter_object
      content {
        network     = ip_filter_object.value.network
        description = ip_filter_object.value.description
      }
    }

    opensearch_dashboards {
      enabled = true
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

resource "aiven_opensearch_acl_config" "this" {
  count = local.opensearch_enabled ? 1 : 0

  project      = var.project
  service_name = aiven_opensearch.this[0].service_name
  enabled      = true
  # Allows a _bulk request if every index in it is allowed; the pipeline writes by _bulk.
  extended_acl = true
}

# Created after the rules are in force: when Aiven enables them, it may let existing users use every index.
resource "aiven_opensearch_user" "pipeline" {
  count = local.opensearch_enabled ? 1 : 0

  project      = var.project
  service_name = aiven_opensearch_acl_config.this[0].service_name
  username     = local.pipeline_user
}

# The pipeline's own indexes, and no others: events by month, sessions, and the state document of
# the indexer. "admin", because the indexer deletes indexes and creates them again when it backfills
# them; the other permissions can create an index but not delete it. No rule covers index templates,
# because they are not indexes; README.md says who creates them.
resource "aiven_opensearch_acl_rule" "pipeline" {
  for_each = local.opensearch_enabled ? toset(["clickstream-events*", "clickstream-sessions*", "clickstream-search-state"]) : []

  project      = var.project
  service_name = aiven_opensearch.this[0].service_name
  username     = aiven_opensearch_user.pipeline[0].username
  index        = each.value
  permission   = "admin"
}
