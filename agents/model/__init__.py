"""What talks to a language model's endpoint: its description, requests and refusals; no prompt is written here."""
