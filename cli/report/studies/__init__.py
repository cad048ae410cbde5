"""Reports of studies: what arms differ by, and who won a race."""
