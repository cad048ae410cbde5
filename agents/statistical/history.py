"""What the store's rows say about knobs that were changed: the memory of the statistical proposers.

They keep no state of their own: every call reads the campaign's trials again, so a campaign that was killed goes on as
if it had not been, and the same rows always lead to the same proposal.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.base import Feedback, KnobValue
from agents.statistical.moves import Config, config_key
from memory.records import Trial, TrialKind, stopped_at
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
class Point:
    """A whole knob setting that was tried, and what it scored."""

    knobs: Mapping[str, KnobValue]
    metric: float | None
    """None for a failure, and for a training that was cut short."""


@dataclass(frozen=True, slots=True)
class History:
    """The moves tried in a campaign, oldest first, and every knob setting that was tried."""

    outcomes: tuple[Outcome, ...]
    """Of edits of one knob."""
    tried: frozenset[Config]
    points: tuple[Point, ...] = ()
    """Of edits of one knob or several, the starting point first."""

    def on(self, knob: str) -> list[Outcome]:
        """The moves on one knob, oldest first."""
        return [outcome for outcome in self.outcomes if outcome.knob == knob]


def read_history(trials: Sequence[Trial], menu: Menu, knobs: Mapping[str, KnobValue]) -> History:
    """Reads the changes of knobs out of a campaign's trials.

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
        if trial.status == Status.KEEP:
            start |= {name: menu.knobs[name].default for name in _changes(trial) if name in menu.knobs}
    settings: dict[str | None, dict[str, KnobValue]] = {}
    outcomes: list[Outcome] = []
    points: list[Point] = []
    tried = {config_key(start), config_key(knobs)}
    for trial in trials:
        parent = settings.get(trial.parent_trial_id, start)
        changes = _changes(trial)
        settings[trial.trial_id] = {**parent, **changes}
        if trial.kind is TrialKind.BASELINE:
            points.append(Point(start, trial.metric))
        if not changes or not changes.keys() <= knobs.keys() or trial.status in QUARANTINED:
            continue
        tried.add(config_key(settings[trial.trial_id]))
        if trial.status in {None, Status.RAIL_BLOCKED}:  # what a rail refused says nothing of its move
            continue
        points.append(Point(settings[trial.trial_id], trial.metric))
        if len(changes) == 1:
            name, value = next(iter(changes.items()))
            kept, stopped = trial.status == Status.KEEP, stopped_at(trial) is not None
            outcomes.append(Outcome(trial.seq, name, parent[name], value, trial.gain, kept, stopped))
    return History(tuple(outcomes), frozenset(tried), tuple(points))


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


def refused_settings(feedback: Sequence[Feedback], knobs: Mapping[str, KnobValue]) -> set[Config]:
    """The settings that the rails refused in earlier attempts at the same trial."""
    found: set[Config] = set()
    for item in feedback:
        try:
            reply = json.loads(item.raw_reply)
        except (ValueError, RecursionError):
            continue
        if isinstance(reply, dict) and isinstance(reply.get("knobs"), dict):
            found.add(config_key({**knobs, **reply["knobs"]}))
    return found


def worst_gain(outcomes: Sequence[Outcome]) -> float:
    """A gain for a failure or a hopeless training: clearly worse than anything that finished."""
    finite = [outcome.gain for outcome in outcomes if outcome.gain is not None and math.isfinite(outcome.gain)]
    return min([-0.02, *finite]) * 1.5


def _changes(trial: Trial) -> dict[str, KnobValue]:
    """The knobs that a trial's edit sets; none where it is no edit of knobs."""
    match trial.edit:
        case {"kind": "knob", "knob": str(knob), "value": int() | float() | str() as value}:
            return {knob: value}
        case {"kind": "knobs", "values": dict(values)}:  # pyright: ignore[reportUnknownVariableType]
            return dict(values)  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return {}
