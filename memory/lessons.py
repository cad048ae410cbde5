"""One line to remember from a decided trial, drawn by rule from its row alone."""

from memory.hopeless import stopped_at
from memory.records import Trial
from rails.status import FINISHED, QUARANTINED, Status
from rails.text import clean_text

_LIMIT = 160
_FAILED = {
    Status.CRASH: "crashed",
    Status.PREFLIGHT_CRASH: "crashed before training",
    Status.TRAIN_BUDGET_OVERRUN: "was too slow to train",
    Status.EVAL_BUDGET_OVERRUN: "was too slow to score",
    Status.SIZE_BLOCKED: "is too large",
    Status.DISQUALIFIED: "was disqualified",
}


def lesson_for(trial: Trial) -> str | None:
    """What the trial teaches, in one line of at most 160 characters; None when it teaches nothing.

    A baseline, a blocked proposal (its rail has said why) and a quarantined trial teach nothing.
    """
    if trial.status is None or trial.status in QUARANTINED | {Status.BASELINE, Status.RAIL_BLOCKED}:
        return None
    edit = clean_text(trial.edit_key or "the edit", 60)
    if trial.status in FINISHED:
        return clean_text(f"{edit} {_finding(trial)}", _LIMIT)
    return clean_text(f"{edit} {_FAILED[trial.status]}: {trial.reason}", _LIMIT)


def _finding(trial: Trial) -> str:
    if early := stopped_at(trial):
        return f"does not help: {early}"
    if trial.gain is None:
        return f"ended as {trial.status}"
    amount = f"{abs(trial.gain):.2%}".replace("%", " %")
    if trial.status is Status.KEEP:
        return f"helps: better by {amount}"
    if trial.gain_high is not None and trial.gain_high < 0:
        return f"hurts: worse by {amount}"
    if trial.gain > 0:
        return f"may help: better by {amount}, not proven"
    return f"does not help: worse by {amount}" if trial.gain else "changes nothing"
