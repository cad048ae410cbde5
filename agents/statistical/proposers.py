"""The proposers that read no text: `random` and `tpe`, the controls that every other one is held against.

Both propose one knob at a time, keep every rule of the menu, and repeat a knob setting only when nothing else is left:
where the task allows it, two knobs at once go before.
They draw from (campaign seed, trial, attempt) and from the store's rows alone: asked again, they answer the same.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from agents.base import KnobValue, ProposalContext, Reply
from agents.statistical.design import CONTINUE, DesignMove, next_design_move
from agents.statistical.history import History, Outcome, worst_gain
from agents.statistical.view import ContextView, knobs_reply, random_move, repeat, shown

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
        view = ContextView(context)
        rng = random.Random(view.seed)
        if (move := random_move(view, rng)) is not None:
            return view.reply(*move, f"random: one of {len(view.space.names)} knobs", started)
        return _random_pair(view, rng, started)


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
        view = ContextView(context)
        best = next(_best_moves(view, context.seed), None)
        return (
            best_pair(view, "TPE", started) if best is None else view.reply(best.knob, best.value, best.reason, started)
        )

    def best_moves(self, context: ProposalContext, count: int) -> list["Suggestion"]:
        """The moves that it would propose, best first: the first is what `propose` answers. At most `count`, all new.

        Raises:
            NoReplyError: as `propose`.
        """
        return list(islice(_best_moves(ContextView(context), context.seed), count))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One move and why."""

    knob: str
    value: KnobValue
    reason: str


def _best_moves(view: ContextView, seed: int) -> Iterator[Suggestion]:
    """The design's moves in its order, then the estimator's, each once; a random one when there is no other new one."""
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


def _estimated_moves(view: ContextView) -> Iterator[tuple[str, KnobValue]]:
    from agents.statistical.parzen import tpe_moves  # here: Optuna takes a second to import

    if view.space.names:
        for name, value in tpe_moves(view.space, view.history, view.seed, TPE_DRAWS):
            if view.space.legal(name, value) and view.is_new(name, value):
                yield name, value
    if (move := random_move(view, random.Random(view.seed))) is not None:
        yield move


def _random_pair(view: ContextView, rng: random.Random, started: float) -> Reply:
    """Two knobs at once, at random; a repeat where no pair is new either.

    Raises:
        NoReplyError: no move is legal.
    """
    pairs = list(view.new_pairs())
    if not pairs:
        return repeat(view, rng, started)
    pair = rng.choice(pairs)
    return knobs_reply(view.space, pair, f"random: {shown(pair)} — no single move is left", started)


def best_pair(view: ContextView, who: str, started: float) -> Reply:
    """The two knobs whose latest moves to these values came to the most together; a repeat where no pair is new.

    Raises:
        NoReplyError: no move is legal.
    """
    rng, bad = random.Random(view.seed), worst_gain(view.history.outcomes)
    last = {(o.knob, o.value): bad if o.gain is None else o.gain for o in view.history.outcomes}
    ranked = [(sum(last.get(move, 0.0) for move in pair.items()), rng.random(), pair) for pair in view.new_pairs()]
    if not ranked:
        return repeat(view, rng, started)
    gain, _, pair = max(ranked, key=lambda each: each[:2])
    reason = f"{who}: {shown(pair)} — no single move is left; alone they came to {gain:+.2%} together"
    return knobs_reply(view.space, pair, reason, started)


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
