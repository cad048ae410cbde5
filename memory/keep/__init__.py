"""What may be compared, and what follows from it: keep rules, near misses, hopeless curves; nothing is stored here."""
