"""What a proposal must pass, and the words every layer shares."""
