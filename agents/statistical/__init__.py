"""Proposers that search by statistics alone: random, designed and tree-structured Parzen; no model is asked."""
