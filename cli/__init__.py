"""The nightshift command."""
