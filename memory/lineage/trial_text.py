"""A trial in few words, for the lineage block and everything that quotes it.

Text that came from models or crashed programs is cleaned here, so that nothing in it passes for structure.
"""

from functools import lru_cache

from memory.lineage.knobs import is_code_edit
from memory.records import Trial, stopped_at
from rails.status import FINISHED
from rails.text import clean_text, measured

_clean = lru_cache(maxsize=4096)(clean_text)  # the same few edits come again and again


def short(value: object, limit: int) -> str:
    """Any value as one clean line of at most `limit` characters."""
    return _clean(str(value), limit)


def percent(share: float) -> str:
    """A share with its sign, in per cent and without the mark: `+0.51`."""
    return f"{100 * share:+.2f}"


def metric_text(metric: float | None) -> str:
    """A metric, as people read it."""
    return "no score" if metric is None else measured(metric)


def interval_text(gain: float | None, low: float | None, high: float | None) -> str:
    """`+0.51 % [+0.20, +0.82]`."""
    if gain is None:
        return "gain unknown"
    interval = "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"
    return f"{percent(gain)} %{interval}"


def gain_of(trial: Trial) -> str:
    """A trial's gain with its interval."""
    return interval_text(trial.gain, trial.gain_low, trial.gain_high)


def edit_text(trial: Trial) -> str:
    """The edit in few words: the key of a knob, the hypothesis of a diff."""
    if is_code_edit(trial) and trial.hypothesis:
        return f"diff “{short(trial.hypothesis, 80)}”"
    return short(trial.edit_key or "no readable edit", 60)


def outcome_text(trial: Trial) -> str:
    """What became of it: `discard, 1.7630 (1 x measured), -0.31 % [-0.92, +0.30]`, or the status of a failure."""
    if early := stopped_at(trial):
        return f"{trial.status}, {early}"
    if trial.status in FINISHED:
        return f"{ended_text(trial)}, {measured_text(trial)}, {gain_of(trial)}"
    return str(trial.status)


def ended_text(trial: Trial) -> str:
    """The status of a finished trial, `kept as simpler` told apart."""
    return "kept as simpler" if trial.kept_as_simpler else str(trial.status)


def measured_text(trial: Trial) -> str:
    """`1.7630 (2 x measured)`."""
    return f"{metric_text(trial.metric)} ({trial.n_measurements} x measured)"
