"""Students: proposers distilled from recorded campaigns, that run on the machine that asks them."""
