# What the services share.

data "aiven_project" "this" {
  project = var.project
}

locals {
  # The one user of the pipeline, in each service with no more rights than its scripts need.
  pipeline_user = "clickstream"

  # Everyone, unless networks are given: set outright, for an option that merely goes missing is not
  # taken back from a running service.
  ip_filter_string = (
    length(var.ip_filter_object) > 0 ? null :
    length(var.ip_filter_string) > 0 ? var.ip_filter_string : toset(["0.0.0.0/0", "::/0"])
  )

  maintenance_day  = var.maintenance_window == null ? null : var.maintenance_window.day
  maintenance_time = var.maintenance_window == null ? null : var.maintenance_window.time

  opensearch_enabled = var.opensearch_sink != "none"
  connector_enabled  = var.opensearch_sink == "connector"
}
