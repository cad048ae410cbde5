"""The DuckDB file: its rows, schema, journal, opening, reading and writing. What the rows mean is decided elsewhere.

`journal.py`, `tail.py` and `cache.py` are frozen: nothing new may need to change them. A new table is added without:

1. its record in `memory/records/`, with a `trial_id`, and its line among the `TRIAL_TABLES` of `rows.py`, by which
   the journal and the snapshot go (the cache counts the rows of the two `NUMBERED_TABLES`, and of no third one);
2. the next numbered file in `migrations/`, and the same table in `migrations/schema.sql`, which new stores begin with;
3. a method of `memory/store.py` that inserts rows, and one of `queries.py` that selects them: the journal is folded
   into the tables before anybody asks them;
4. its view, with a comment for every column, in `views.sql`; `python -m memory.schema_doc > docs/schema.md`.
"""
