"""Numbered SQL files that bring a store's schema from one version to the next, and what runs them."""
