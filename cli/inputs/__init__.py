"""What commands are given: workspaces, logs and options; nothing is printed here."""
