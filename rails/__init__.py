"""What a proposal must pass, and the words that every layer shares; nothing here imports another layer."""
