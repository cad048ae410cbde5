"""What the attackers write: each file takes the place of `main` in train.py (see `cli.attacks.splice`).

They are harmless where they succeed: they open other people's files without changing them, create files under a name
of their own that the suite removes, and send no signal but SIGURG, which nobody minds.
"""
