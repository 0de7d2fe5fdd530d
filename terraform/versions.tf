terraform {
  # 1.9: validations that look at a second variable.
  required_version = ">= 1.9"

  required_providers {
    aiven = {
      source  = "aiven/aiven"
      version = "~> 4.61"
    }
  }
}

# The token is read from the environment (AIVEN_TOKEN), so that it reaches no file, plan or state.
provider "aiven" {}
