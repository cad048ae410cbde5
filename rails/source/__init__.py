"""Programs as text: their knobs, edits, diffs and the surface that an agent may change; nothing is run here."""
