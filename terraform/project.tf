# Data and local values that several services use.

data "aiven_project" "this" {
  project = var.project
}

locals {
  # Name of the pipeline's user in each service. It has only the rights that the scripts need.
  pipeline_user = "clickstream"

  # Everyone, unless networks are given. It is always set, because Aiven keeps the old value of an option
  # that is left out.
  ip_filter_string = (
    length(var.ip_filter_object) > 0 ? null :
    length(var.ip_filter_string) > 0 ? var.ip_filter_string : toset(["0.0.0.0/0", "::/0"])
  )

  maintenance_day  = var.maintenance_window == null ? null : var.maintenance_window.day
  maintenance_time = var.maintenance_window == null ? null : var.maintenance_window.time

  opensearch_enabled = var.opensearch_sink != "none"
  connector_enabled  = var.opensearch_sink == "connector"
}
