"""The DuckDB file: its rows, schema, journal, opening, reading and writing. What the rows mean is decided elsewhere."""
