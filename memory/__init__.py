"""What is remembered and what follows from it: store, git ratchet, keep rules, lineage; nothing is run here."""
