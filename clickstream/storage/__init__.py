"""The tables in PostgreSQL and the statements that read and write them."""
