"""The proposers that read no text: `random` and `tpe`, the controls that every other one is held against.

Both propose one knob at a time, keep every rule of the menu, and repeat a knob setting only when nothing else is left.
They draw from (campaign seed, trial, attempt) and from the store's rows alone: asked again, they answer the same.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from agents.base import KnobValue, NoReplyError, ProposalContext, Reply, local_call
from agents.statistical.design import CONTINUE, DesignMove, next_design_move
from agents.statistical.history import History, Outcome, read_history, refused_moves
from agents.statistical.moves import MoveSpace

DRAWS = 200
"""Random draws before every value is listed."""

TPE_DRAWS = 40
"""Moves the estimator may offer before a random one is taken."""


class RandomProposer:
    """Uniform over knobs, then uniform over the legal values of that knob that were not tried on this incumbent."""

    name = "random"
    repairs_crashes = False

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """Draw a move.

        Raises:
            NoReplyError: the task allows no single-knob edit, or no move is legal.
        """
        started = time.monotonic()
        view = _View(context)
        name, value = _random_move(view, random.Random(view.seed))
        return view.reply(name, value, f"random: one of {len(view.space.names)} knobs", started)


class TpeProposer:
    """A screening design (`design.py`), then the tree-structured Parzen estimator (`parzen.py`)."""

    name = "tpe"
    repairs_crashes = False

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """The next move of the design, or else the estimator's.

        Raises:
            NoReplyError: the task allows no single-knob edit, or no move is legal.
        """
        started = time.monotonic()
        view = _View(context)
        best = next(_best_moves(view, context.seed))
        return view.reply(best.knob, best.value, best.reason, started)

    def best_moves(self, context: ProposalContext, count: int) -> list["Suggestion"]:
        """The moves that it would propose, best first: the first is what `propose` answers. At most `count`, all new.

        Raises:
            NoReplyError: as `propose`.
        """
        return list(islice(_best_moves(_View(context), context.seed), count))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One move and why."""

    knob: str
    value: KnobValue
    reason: str


class _View:
    """A context as the statistical proposers see it."""

    def __init__(self, context: ProposalContext) -> None:
        if "knob" not in context.task.edit.modes:
            fix = 'add "knob" to edit.modes, or use a model'
            raise NoReplyError(
                "this proposer changes one knob, and the task allows no such edit", where="task.toml", fix=fix
            )
        limit = context.task.trial.memory_bytes or None
        self.space = MoveSpace(context.menu, context.knobs, size_limit_bytes=limit)
        self.history = read_history(context.trials, context.menu, context.knobs)
        self._refused = refused_moves(context.feedback)
        digest = hashlib.sha256(f"{context.seed}:{context.trial_seq}:{context.attempt}".encode()).digest()
        self.seed = int.from_bytes(digest[:4], "big")

    def is_new(self, name: str, value: KnobValue) -> bool:
        """Whether a legal move leads to a knob setting that was neither tried nor just refused."""
        return (name, value) not in self._refused and self.space.after(name, value) not in self.history.tried

    def reply(self, name: str, value: KnobValue, reason: str, started: float) -> Reply:
        """The raw proposal, as a model would give it."""
        assert not isinstance(value, bool)
        value = self.space.knob(name).normalise(value)
        raw = json.dumps({"knob": name, "new_value": value, "reason": reason}, ensure_ascii=False)
        return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),), repeatable=True)


def _random_move(view: _View, rng: random.Random) -> tuple[str, KnobValue]:
    space = view.space
    for _ in range(DRAWS if space.names else 0):
        name = rng.choice(space.names)
        value = space.draw(name, rng)
        if space.legal(name, value) and view.is_new(name, value):
            return name, value
    names = rng.sample(space.names, len(space.names))
    legal = [(name, value) for name in names for value in space.every(name) if space.legal(name, value)]
    new = [move for move in legal if view.is_new(*move)]
    if new or legal:
        return rng.choice(new or legal)
    fix = "widen the menu in task.toml"
    raise NoReplyError("no knob can be moved: every other value breaks a rule of the menu", fix=fix)


def _best_moves(view: _View, seed: int) -> Iterator[Suggestion]:
    """The design's moves in its order, then the estimator's, each once; a random one when there is no other."""
    neighbours = (move for name in view.space.names for move in view.space.neighbours(name, reach=2))
    allowed = {move for move in neighbours if view.is_new(move.knob, move.value)}
    given: set[tuple[str, KnobValue]] = set()
    while (designed := next_design_move(view.space, view.history, frozenset(allowed), seed)) is not None:
        move = designed.move
        allowed.discard(move)
        given.add((move.knob, move.value))
        yield Suggestion(move.knob, move.value, _design_reason(designed))
    for name, value in _estimated_moves(view):
        if (name, value) not in given:
            given.add((name, value))
            yield Suggestion(name, value, _tpe_reason(name, value, view.history))


def _estimated_moves(view: _View) -> Iterator[tuple[str, KnobValue]]:
    from agents.statistical.parzen import tpe_moves  # here: Optuna takes a second to import

    if view.space.names:
        for name, value in tpe_moves(view.space, view.history, view.seed, TPE_DRAWS):
            if view.space.legal(name, value) and view.is_new(name, value):
                yield name, value
    yield _random_move(view, random.Random(view.seed))


def _design_reason(designed: DesignMove) -> str:
    move, because = designed.move, designed.because
    edit = f"TPE: {move.knob}={move.value}"
    if because is None:
        return f"{edit} — first look at this knob, by its nearest value"
    earlier = f"{because.knob}={because.value} in trial {because.seq}"
    if designed.priority == CONTINUE:
        return f"{edit} — going on: {earlier} was kept{_gained(because)}"
    if (because.gain or 0.0) > 0:
        return f"{edit} — {earlier} was a near miss{_gained(because)}"
    how = "was hopeless" if because.stopped else "failed" if because.gain is None else "was worse"
    return f"{edit} — the other way: {earlier} {how}{_gained(because)}"


def _tpe_reason(name: str, value: KnobValue, history: History) -> str:
    past = history.on(name)
    improved = sum(outcome.gain is not None and outcome.gain > 0 for outcome in past)
    evidence = f"{improved} of {len(past)} earlier moves on this knob improved" if past else "not tried before"
    return f"TPE: {name}={value} — {evidence}"


def _gained(outcome: Outcome) -> str:
    return "" if outcome.gain is None else f" ({outcome.gain:+.2%})"
