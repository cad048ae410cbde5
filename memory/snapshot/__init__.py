"""The published copy of the store that everybody else reads: its format, loading it, and answers from it."""
