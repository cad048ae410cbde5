"""How things are printed on a terminal: tables, numbers, plots, progress; nothing here knows what a campaign is for."""
