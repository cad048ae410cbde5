"""Students: a corpus of recorded choices, training, the race against other proposers, promotion."""
