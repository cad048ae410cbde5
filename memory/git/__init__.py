"""The ratchet: commits, branches and the working tree of a workspace; what is kept is decided in `memory/keep`."""
