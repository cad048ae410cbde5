"""Numbered, transactional schema migrations."""
