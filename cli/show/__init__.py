"""The documents that commands print: status, one trial, a difference, a decision; they only read records."""
