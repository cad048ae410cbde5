"""What is learnt from whole campaigns: students distilled from them, and how they compare."""
