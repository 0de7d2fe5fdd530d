"""The report: figures read from the tables, shown in a terminal, as HTML or as JSON."""
