"""What the store's rows say about single-knob moves: the memory of the statistical proposers.

They keep no state of their own: every call reads the campaign's trials again, so a campaign that was killed goes on as
if it had not been, and the same rows always lead to the same proposal.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.base import Feedback, KnobValue
from agents.statistical.moves import Config, config_key
from memory.records import Trial, stopped_at
from rails.menu import Menu
from rails.status import QUARANTINED, Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """One single-knob move that was tried, and what it brought."""

    seq: int
    knob: str
    before: KnobValue
    value: KnobValue
    gain: float | None
    """Relative gain over its parent, positive is better; None for a failure, and for a training that was cut short."""
    kept: bool
    stopped: bool = False
    """Whether its training was cut short as hopeless: not a failure, but as bad a sign."""

    @property
    def direction(self) -> int:
        """+1 for a move up, -1 down, 0 where values have no order."""
        if isinstance(self.before, str) or isinstance(self.value, str):
            return 0
        return (self.value > self.before) - (self.value < self.before)


@dataclass(frozen=True, slots=True)
class History:
    """The moves tried in a campaign, oldest first, and every knob setting that was tried."""

    outcomes: tuple[Outcome, ...]
    tried: frozenset[Config]

    def on(self, knob: str) -> list[Outcome]:
        """The moves on one knob, oldest first."""
        return [outcome for outcome in self.outcomes if outcome.knob == knob]


def read_history(trials: Sequence[Trial], menu: Menu, knobs: Mapping[str, KnobValue]) -> History:
    """Reads the single-knob moves out of a campaign's trials.

    A trial's row states its edit and its parent, not the parent's knob values; these follow from the chain of kept
    edits, which starts at the menu's defaults for the knobs that the chain changed and at the incumbent's values for
    the others.

    Args:
        trials: the campaign's trials by seq, the trial in hand included or not.
        menu: gives the starting values.
        knobs: the incumbent's knob values.
    """
    start = dict(knobs)
    for trial in trials:
        move = _knob_edit(trial)
        if trial.status == Status.KEEP and move and move[0] in menu.knobs:
            start[move[0]] = menu.knobs[move[0]].default
    settings: dict[str | None, dict[str, KnobValue]] = {}
    outcomes: list[Outcome] = []
    tried = {config_key(start), config_key(knobs)}
    for trial in trials:
        parent = settings.get(trial.parent_trial_id, start)
        move = _knob_edit(trial)
        settings[trial.trial_id] = parent if move is None else {**parent, move[0]: move[1]}
        if move is None or move[0] not in knobs or trial.status in QUARANTINED:
            continue
        tried.add(config_key(settings[trial.trial_id]))
        if trial.status not in {None, Status.RAIL_BLOCKED}:  # what a rail refused says nothing of its move
            kept = trial.status == Status.KEEP
            stopped = stopped_at(trial) is not None
            outcomes.append(Outcome(trial.seq, move[0], parent[move[0]], move[1], trial.gain, kept, stopped))
    return History(tuple(outcomes), frozenset(tried))


def refused_moves(feedback: Sequence[Feedback]) -> set[tuple[str, KnobValue]]:
    """The (knob, value) pairs that the rails refused in earlier attempts at the same trial."""
    moves: set[tuple[str, KnobValue]] = set()
    for item in feedback:
        try:
            reply = json.loads(item.raw_reply)
        except (ValueError, RecursionError):
            continue
        match reply:
            case {"knob": str(knob), "new_value": int() | float() | str() as value}:
                moves.add((knob, value))
            case _:
                continue
    return moves


def worst_gain(outcomes: Sequence[Outcome]) -> float:
    """A gain for a failure or a hopeless training: clearly worse than anything that finished."""
    finite = [outcome.gain for outcome in outcomes if outcome.gain is not None and math.isfinite(outcome.gain)]
    return min([-0.02, *finite]) * 1.5


def _knob_edit(trial: Trial) -> tuple[str, KnobValue] | None:
    """The (knob, value) of a trial's edit, or None when it is no single-knob edit."""
    match trial.edit:
        case {"kind": "knob", "knob": str(knob), "value": int() | float() | str() as value}:
            return knob, value
        case _:
            return None
