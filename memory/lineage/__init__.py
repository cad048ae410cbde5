"""The lineage block that the next proposal reads, rendered from the record; nothing is decided here."""
