"""What is done about a damaged store: refuse to go on with it, and bring it back from the published snapshot."""
