"""What a trial won for good: the one definition of a confirmed gain, for whoever pays or praises by it."""

from memory.records import Trial
from rails.status import Status

SIMPLER = "simpler"
"""`kind` in the decision of a trial that was kept because it makes the program simpler: no gain, whatever its score."""


def is_simpler(trial: Trial) -> bool:
    """Whether a trial was kept for being simpler, not for being better."""
    return trial.status is Status.KEEP and (trial.decision or {}).get("kind") == SIMPLER


def confirmed_gain(trial: Trial) -> float:
    """The gain of a keep that stands and whose 95 % interval lies above zero, relative to the baseline; else 0.

    A keep that was undone is no keep any more, and what was kept for being simpler brought no gain.
    """
    if trial.status is not Status.KEEP or is_simpler(trial):
        return 0.0
    proven = trial.gain is not None and trial.gain_low is not None and trial.gain_low > 0
    return trial.gain if proven and trial.gain is not None else 0.0
