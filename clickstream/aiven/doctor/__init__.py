"""What the doctor looks at: files, the way to each server, credentials, rights."""
