"""Who decides what to try next; nothing here judges, runs or stores anything."""
