"""Distributions, exact tests and the noise between equal programs; nothing here knows a trial."""
