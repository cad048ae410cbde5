"""Ablations: paired campaigns that differ in one thing, and what the difference is worth."""
