# == Where ========================================================================================

variable "project" {
  description = "Name of the Aiven project that the services are created in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,63}$", var.project))
    error_message = "The project must be the name shown in the Aiven Console: letters, digits, hyphens and underscores, 63 at most."
  }
}

variable "cloud_name" {
  description = "Cloud and region of all services in Aiven's notation: provider, hyphen, region."
  type        = string
  default     = "google-europe-west1"
  nullable    = false

  validation {
    condition     = can(regex("^(avn|aws|azure|custom|do|google|oci|upcloud)-[a-z0-9-]+$", var.cloud_name))
    error_message = "The region must begin with its provider, such as google-europe-west1, aws-eu-central-1, azure-westeurope or do-fra; all of them: https://aiven.io/docs/platform/reference/list_of_clouds."
  }
}

variable "name_prefix" {
  description = "First part of every service's name: <prefix>-kafka, <prefix>-pg, <prefix>-opensearch, <prefix>-connect, <prefix>-flink. Changing it replaces the services and their data."
  type        = string
  default     = "clickstream"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name_prefix))
    error_message = "The prefix must begin with a lowercase letter, end with a lowercase letter or a digit, and contain only these and hyphens."
  }

  validation {
    # The longest name, <prefix>-opensearch, is part of a host name, where 63 characters are the limit.
    condition     = length(var.name_prefix) <= 40
    error_message = "The prefix must have at most 40 characters, because host names are made from it."
  }
}

# == Kafka ========================================================================================

variable "kafka_plan" {
  description = "Plan of the Kafka service. startup-4 is the smallest paid plan, free-0 the free one (2 partitions, no connector)."
  type        = string
  default     = "startup-4"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]*[a-z0-9]$", var.kafka_plan))
    error_message = "The Kafka plan must be a plan's name in lowercase, such as startup-4 or business-4."
  }

  validation {
    condition     = var.kafka_plan != "startup-2"
    error_message = "Aiven no longer sells startup-2 for Kafka; the smallest paid plan is startup-4."
  }
}

variable "kafka_version" {
  description = "Kafka version as major.minor in quotes, or null for Aiven's default on the day the service is created."
  type        = string
  default     = null

  validation {
    # The provider accepts any text, and Aiven refuses a wrong one only when the service is created.
    condition     = var.kafka_version == null || can(regex("^[34]\\.[0-9]{1,2}$", var.kafka_version))
    error_message = "The Kafka version must be one of 3 or 4, such as \"4.0\", in quotes: without them 4.0 is a number, and becomes 4."
  }
}

variable "kafka_standard" {
  description = "True for a Standard (inkless) Kafka, which accounts created after August 2026 get; its plans have other names (README.md says how to list them)."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.kafka_standard || !can(regex("^[0-3]\\.", var.kafka_version))
    error_message = "Standard Kafka begins with version 4.0; set kafka_version to \"4.0\" or later, or leave it out."
  }
}

variable "kafka_topic" {
  description = "Topic of the events. Changing it replaces the topic and its records."
  type        = string
  default     = "clickstream-events"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,200}$", var.kafka_topic)) && !contains([".", ".."], var.kafka_topic)
    error_message = "The topic must have 1 to 200 letters, digits, dots, hyphens and underscores."
  }
}

variable "kafka_topic_partitions" {
  description = "Number of partitions of the topic, which is the largest number of consumers that can share the work. It can be raised, but not lowered."
  type        = number
  default     = 6
  nullable    = false

  validation {
    condition     = var.kafka_topic_partitions >= 1 && var.kafka_topic_partitions <= 10000 && floor(var.kafka_topic_partitions) == var.kafka_topic_partitions
    error_message = "The partitions must be a whole number from 1 to 10000."
  }

  validation {
    condition     = !startswith(var.kafka_plan, "free-") || var.kafka_topic_partitions <= 2
    error_message = "The free Kafka plan has at most 2 partitions per topic; set kafka_topic_partitions = 2 or choose another kafka_plan."
  }
}

variable "kafka_topic_replication" {
  description = "Copies of each partition, each on a different broker."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.kafka_topic_replication >= 1 && var.kafka_topic_replication <= 15 && floor(var.kafka_topic_replication) == var.kafka_topic_replication
    error_message = "The replication must be a whole number from 1 to 15, and not above the number of brokers in the plan."
  }
}

variable "kafka_topic_min_insync_replicas" {
  description = "Copies that must have a record before the producer's acks=all is answered."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.kafka_topic_min_insync_replicas >= 1 && floor(var.kafka_topic_min_insync_replicas) == var.kafka_topic_min_insync_replicas
    error_message = "The in-sync replicas must be a whole number of at least 1."
  }

  validation {
    condition     = var.kafka_topic_min_insync_replicas < var.kafka_topic_replication || var.kafka_topic_replication == 1 && var.kafka_topic_min_insync_replicas == 1
    error_message = "kafka_topic_min_insync_replicas must be below kafka_topic_replication: otherwise one broker in maintenance stops every producer."
  }
}

variable "kafka_topic_retention_hours" {
  description = "How long the topic keeps a record, in hours; -1: without limit. A consumer that is off for longer loses records."
  type        = number
  default     = 24 * 7
  nullable    = false

  validation {
    condition     = (var.kafka_topic_retention_hours >= 1 || var.kafka_topic_retention_hours == -1) && floor(var.kafka_topic_retention_hours) == var.kafka_topic_retention_hours
    error_message = "The retention must be a whole number of hours, at least 1, or -1 for no limit."
  }
}

# == PostgreSQL ===================================================================================

variable "postgres_plan" {
  description = "Plan of the PostgreSQL service. hobbyist is the smallest paid plan, free-1-1gb the free one (1 GB of disk, 20 connections)."
  type        = string
  default     = "hobbyist"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]*[a-z0-9]$", var.postgres_plan))
    error_message = "The PostgreSQL plan must be a plan's name in lowercase, such as hobbyist or startup-4."
  }

  validation {
    condition     = !startswith(var.postgres_plan, "free-") || startswith(var.cloud_name, "do-")
    error_message = "The free PostgreSQL plan exists in DigitalOcean's regions only; set cloud_name to one of them, such as do-fra, or choose another postgres_plan."
  }
}

variable "postgres_version" {
  description = "PostgreSQL major version in quotes (13 to 19), or null for Aiven's default on the day the service is created."
  type        = string
  default     = null

  validation {
    condition     = var.postgres_version == null || can(regex("^1[3-9]$", var.postgres_version))
    error_message = "The PostgreSQL version must be a major version from 13 to 19, such as \"17\"."
  }
}

# == OpenSearch ===================================================================================

variable "opensearch_sink" {
  description = "Who writes to OpenSearch: consumer (the pipeline's own, events and sessions), connector (Kafka Connect, events only; see README.md for what is lost), or none (no OpenSearch service)."
  type        = string
  default     = "consumer"
  nullable    = false

  validation {
    condition     = contains(["consumer", "connector", "none"], var.opensearch_sink)
    error_message = "opensearch_sink must be \"consumer\", \"connector\" or \"none\"."
  }

  validation {
    condition     = var.opensearch_sink != "connector" || !startswith(var.kafka_plan, "free-")
    error_message = "The free Kafka plan has no Kafka Connect; set opensearch_sink to \"consumer\" or \"none\", or choose another kafka_plan."
  }
}

variable "opensearch_plan" {
  description = "Plan of the OpenSearch service. startup-4 is the smallest; the free plan is created in the Console only."
  type        = string
  default     = "startup-4"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]*[a-z0-9]$", var.opensearch_plan))
    error_message = "The OpenSearch plan must be a plan's name in lowercase, such as startup-4."
  }

  validation {
    condition     = !startswith(var.opensearch_plan, "free-")
    error_message = "The free OpenSearch plan is created in the Aiven Console only; choose a paid opensearch_plan, or opensearch_sink = \"none\"."
  }
}

variable "opensearch_version" {
  description = "OpenSearch version in quotes (2 or 3, or a minor version such as 2.19), or null for Aiven's default on the day the service is created."
  type        = string
  default     = null

  validation {
    condition     = var.opensearch_version == null || can(regex("^[23](\\.[0-9]{1,2})?$", var.opensearch_version))
    error_message = "The OpenSearch version must be 2 or 3, or a minor version such as \"2.19\", in quotes."
  }
}

variable "kafka_connect_plan" {
  description = "Plan of the Kafka Connect service; used with opensearch_sink = \"connector\" only."
  type        = string
  default     = "startup-4"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]*[a-z0-9]$", var.kafka_connect_plan))
    error_message = "The Kafka Connect plan must be a plan's name in lowercase, such as startup-4."
  }
}

# == Flink ========================================================================================

variable "enable_flink" {
  description = "True to let Aiven for Apache Flink compute the sessions, too, in tables of its own. Create these tables first; see README.md."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.enable_flink || !startswith(var.kafka_plan, "free-")
    error_message = "The free Kafka plan has no integrations, which Flink needs; set enable_flink to false or choose another kafka_plan."
  }
}

variable "flink_plan" {
  description = "Plan of the Flink service; used with enable_flink = true only. business-4 is the smallest."
  type        = string
  default     = "business-4"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]*[a-z0-9]$", var.flink_plan))
    error_message = "The Flink plan must be a plan's name in lowercase, such as business-4."
  }
}

variable "flink_parallelism" {
  description = "Parallel instances of the job. With more than the task slots of the plan Flink cannot start the job; more than the partitions of the topic have no effect."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.flink_parallelism >= 1 && var.flink_parallelism <= 128 && floor(var.flink_parallelism) == var.flink_parallelism
    error_message = "The parallelism must be a whole number from 1 to 128."
  }
}

# == All services =================================================================================

variable "ip_filter_string" {
  description = "Networks that may connect, in CIDR notation. If this and ip_filter_object are empty: everyone who has the credentials. With opensearch_sink = \"connector\" the addresses of the Connect service must be among them, with enable_flink those of the Flink service."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for network in var.ip_filter_string : can(cidrhost(network, 0))])
    error_message = "Each entry of ip_filter_string must be a network such as 203.0.113.0/24; a single address is 203.0.113.7/32."
  }

  validation {
    condition     = length(var.ip_filter_string) == 0 || length(var.ip_filter_object) == 0
    error_message = "Set ip_filter_string or ip_filter_object, not both."
  }
}

variable "ip_filter_object" {
  description = "The same as ip_filter_string, with a description of each network."
  type        = set(object({ network = string, description = optional(string) }))
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for entry in var.ip_filter_object : can(cidrhost(entry.network, 0))])
    error_message = "Each network of ip_filter_object must look like 203.0.113.0/24; a single address is 203.0.113.7/32."
  }
}

variable "termination_protection" {
  description = "If true, Aiven refuses to delete the services. Set it to true in production, and to false again before terraform destroy."
  type        = bool
  default     = false
  nullable    = false
}

variable "maintenance_window" {
  description = "When Aiven may update the services, UTC: {day = \"sunday\", time = \"03:00:00\"}; null leaves it to Aiven."
  type        = object({ day = optional(string), time = optional(string) })
  default     = null

  validation {
    condition     = var.maintenance_window == null || try(var.maintenance_window.day != null && var.maintenance_window.time != null, false)
    error_message = "maintenance_window must have both day and time; leave it out for a time of Aiven's choice."
  }

  validation {
    condition     = try(var.maintenance_window.day, null) == null || can(regex("^(monday|tuesday|wednesday|thursday|friday|saturday|sunday)$", var.maintenance_window.day))
    error_message = "The day of maintenance_window must be an English weekday in lowercase, such as sunday."
  }

  validation {
    condition     = try(var.maintenance_window.time, null) == null || can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$", var.maintenance_window.time))
    error_message = "The time of maintenance_window must be hours, minutes and seconds, such as 03:00:00."
  }
}

variable "tags" {
  description = "Tags of every service."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^[a-zA-Z][a-zA-Z0-9_:-]{0,63}$", key)) && length(value) <= 64])
    error_message = "A tag's key begins with a letter and has at most 64 letters, digits, hyphens and underscores; its value has at most 64 characters."
  }
}
