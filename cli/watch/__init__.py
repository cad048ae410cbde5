"""The live view of a running campaign: what is read, and how the screen is drawn; it cannot touch the loop."""
