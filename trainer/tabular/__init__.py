"""Recorded tables: what each configuration of a small task scored, seed by seed; a search is answered at once."""
