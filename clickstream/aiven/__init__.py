"""Credentials from Terraform's outputs."""
