"""The consumer: from the bytes of a record to committed rows and sessions."""
