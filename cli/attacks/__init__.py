"""Programs that cheat, run through the real loop, for `nightshift doctor --attacks`; honest work is done elsewhere.

Each attack is an edited train.py. None may be kept or better the record at a level of isolation that promises to stop
it, and twenty honest programs must pass untouched.
"""
