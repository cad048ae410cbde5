"""Training, scoring and the process boundary between them; it knows no trial, campaign or store."""
