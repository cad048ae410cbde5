"""Readers of other loops' logs into rows of one neutral format; every line that cannot be read is told of."""
