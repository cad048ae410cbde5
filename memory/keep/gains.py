"""What a trial won for good: the one definition of a confirmed gain, for whoever pays or praises by it."""

from memory.records import Trial
from rails.status import Status


def confirmed_gain(trial: Trial) -> float:
    """The gain of a keep that stands and whose 95 % interval lies above zero, relative to the baseline; else 0.

    A keep that was undone is no keep any more, and what was kept for being simpler brought no gain.
    """
    if trial.status is not Status.KEEP or trial.kept_as_simpler:
        return 0.0
    proven = trial.gain is not None and trial.gain_low is not None and trial.gain_low > 0
    return trial.gain if proven and trial.gain is not None else 0.0
