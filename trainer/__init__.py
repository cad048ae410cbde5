"""Training, scoring and the process boundary between them."""
