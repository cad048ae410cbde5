"""What ends or holds up a night: limits, meters, pauses, signals, a full disk; no trial is decided here."""
