resource "aiven_pg" "this" {
  project      = var.project
  cloud_name   = var.cloud_name
  plan         = var.postgres_plan
  service_name = "${var.name_prefix}-pg"

  termination_protection  = var.termination_protection
  maintenance_window_dow  = local.maintenance_day
  maintenance_window_time = local.maintenance_time

  pg_user_config {
    pg_version       = var.postgres_version
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

# Owned by the service's admin user. `python -m clickstream grant` lets the pipeline's user create a schema
# of its own in it, once, because the provider has no resource for this right.
resource "aiven_pg_database" "clickstream" {
  project       = var.project
  service_name  = aiven_pg.this.service_name
  database_name = "clickstream"
}

resource "aiven_pg_user" "pipeline" {
  project      = var.project
  service_name = aiven_pg.this.service_name
  username     = local.pipeline_user
}
