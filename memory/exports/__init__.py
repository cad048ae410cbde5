"""Writing a campaign's record for other programs: tables that people read, and files that lose nothing."""
