"""What the loop tells whoever watches, and the file they read it from; nothing here changes the loop."""
