"""Writers of a campaign's record for other programs; nothing is read back here."""
