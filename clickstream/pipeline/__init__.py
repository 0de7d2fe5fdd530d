"""From the bytes of a record to committed rows and sessions."""
