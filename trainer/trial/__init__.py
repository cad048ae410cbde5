"""The conversation with a trial's process: its specification, messages, shared memory and saved state."""
