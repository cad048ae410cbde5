"""Readers of other loops' logs: each makes neutral rows of one format, and tells of every line it could not read."""
