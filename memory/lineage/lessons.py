"""One line to remember from a decided trial, drawn by rule from its row: what was changed, what it did, what now."""

from memory.lineage.knobs import is_code_edit, knob_edit
from memory.lineage.trial_text import edit_text, gain_of
from memory.records import Trial, stopped_at
from rails.status import FINISHED, QUARANTINED, Status
from rails.text import clean_text, shorten

RULE = "rule"
"""The source of a lesson that no model wrote."""

LIMIT = 160
"""Longest lesson, in characters."""

_FAILED = {
    Status.CRASH: ("crashed", "leave it, or change what it names"),
    Status.PREFLIGHT_CRASH: ("crashed before training", "leave it, or change what it names"),
    Status.TRAIN_BUDGET_OVERRUN: ("was too slow to train", "make it cheaper"),
    Status.EVAL_BUDGET_OVERRUN: ("was too slow to score", "make it cheaper"),
    Status.SIZE_BLOCKED: ("is too large", "go smaller"),
    Status.DISQUALIFIED: ("was disqualified", "leave it"),
}


def lesson_for(trial: Trial) -> str | None:
    """What the trial teaches, in one line of at most 160 characters; None when it teaches nothing.

    A baseline, a blocked proposal (its rail has said why) and a quarantined trial teach nothing.
    """
    if trial.status is None or trial.status in QUARANTINED | {Status.BASELINE, Status.RAIL_BLOCKED}:
        return None
    edit = edit_text(trial)
    if trial.status in FINISHED:
        return clean_text(f"{edit} {_finding(trial)}", LIMIT)
    what, now = _FAILED[trial.status]
    begun = f"{edit} {what}: "
    room = LIMIT - len(begun) - len(now) - 2
    return clean_text(f"{begun}{shorten(clean_text(trial.reason or '', LIMIT), max(room, 20))}; {now}", LIMIT)


def _finding(trial: Trial) -> str:
    if early := stopped_at(trial):
        return f"does not help: {early}; leave it"
    if trial.gain is None:
        return f"ended as {trial.status}"
    if trial.status is Status.KEEP:
        return _kept(trial)
    if trial.gain_high is not None and trial.gain_high < 0:
        return f"hurts: {_measured(trial)}; {_elsewhere(trial)}"
    if trial.gain > 0:
        return f"may help: {_measured(trial)}, not proven; combine it, or try it on a better base"
    return f"does not help: {_measured(trial)}; leave it" if trial.gain else "changes nothing; leave it"


def _kept(trial: Trial) -> str:
    if trial.kept_as_simpler:
        return f"makes the program simpler and costs little: {_measured(trial)}; keep it that simple"
    return f"helps: {_measured(trial)}; build on it{_further(trial)}"


def _measured(trial: Trial) -> str:
    """`+0.51 % [+0.20, +0.82], 2 x measured`."""
    times = f", {trial.n_measurements} x measured" if trial.n_measurements else ""
    return f"{gain_of(trial)}{times}"


def _further(trial: Trial) -> str:
    return ", or go further that way" if _is_number(trial) else ""


def _elsewhere(trial: Trial) -> str:
    if _is_number(trial):
        return "go the other way"
    return "take the idea out" if is_code_edit(trial) else "leave it"


def _is_number(trial: Trial) -> bool:
    edit = knob_edit(trial)
    return edit is not None and not isinstance(edit[1], str)
