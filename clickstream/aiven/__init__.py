"""Credentials from Terraform, and the doctor."""
