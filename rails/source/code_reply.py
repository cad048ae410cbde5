"""stub."""

FORM = "Write the code now: a unified diff."
