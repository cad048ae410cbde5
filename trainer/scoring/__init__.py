"""Trusted scoring of a trained model from outside, and the probes that see whether it was honest."""
