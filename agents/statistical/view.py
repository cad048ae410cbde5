"""What a proposer that reads no text takes from its context: legal moves, the history, a seed; and a move at random."""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping
from itertools import combinations, product

from agents.base import KnobValue, NoReplyError, ProposalContext, Reply, local_call
from agents.statistical.history import read_history, refused_moves, refused_settings
from agents.statistical.moves import MoveSpace, config_key

DRAWS = 200
"""Random draws before every value is listed."""


class ContextView:
    """A context as proposers see it that read no text.

    Raises:
        NoReplyError: the task allows no single-knob edit.
    """

    def __init__(self, context: ProposalContext) -> None:
        if "knob" not in context.task.edit.modes:
            fix = 'add "knob" to edit.modes, or use a model'
            raise NoReplyError(
                "this proposer changes one knob, and the task allows no such edit", where="task.toml", fix=fix
            )
        limit = context.task.memory_limit_bytes
        self.space = MoveSpace(context.menu, context.knobs, size_limit_bytes=limit)
        self.history = read_history(context.trials, context.menu, context.knobs)
        self._refused = refused_moves(context.feedback)
        self._refused_settings = refused_settings(context.feedback, context.knobs)
        self._several = "knobs" in context.task.edit.modes
        digest = hashlib.sha256(f"{context.seed}:{context.trial_seq}:{context.attempt}".encode()).digest()
        self.seed: int = int.from_bytes(digest[:4], "big")

    def is_new(self, name: str, value: KnobValue) -> bool:
        """Whether a legal move leads to a knob setting that was neither tried nor just refused."""
        return (name, value) not in self._refused and self.space.after(name, value) not in self.history.tried

    def new_pairs(self) -> Iterator[Mapping[str, KnobValue]]:
        """Two knobs at once, where the task allows that: every legal pair of values that leads somewhere new.

        For when no single move is left. Menus for which that ever happens are small.
        """
        space = self.space
        other = {name: [v for v in space.every(name) if v != space.current(name)] for name in space.names}
        for first, second in combinations(space.names, 2) if self._several else ():
            for pair in product(other[first], other[second]):
                changed = dict(zip((first, second), pair, strict=True))
                setting = {**space.knobs, **changed}
                key = config_key(setting)
                if key not in self.history.tried and key not in self._refused_settings and space.allows(setting):
                    yield changed

    def reply(self, name: str, value: KnobValue, reason: str, started: float) -> Reply:
        """The raw proposal, as a model would give it."""
        assert not isinstance(value, bool)
        value = self.space.knob(name).normalise(value)
        raw = json.dumps({"knob": name, "new_value": value, "reason": reason}, ensure_ascii=False)
        return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),), repeatable=True)


def knobs_reply(space: MoveSpace, values: Mapping[str, KnobValue], reason: str, started: float) -> Reply:
    """The raw proposal to set several knobs at once."""
    knobs = {name: space.knob(name).normalise(value) for name, value in values.items()}  # pyright: ignore[reportArgumentType]
    raw = json.dumps({"knobs": knobs, "reason": reason}, ensure_ascii=False)
    return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),), repeatable=True)


def shown(values: Mapping[str, KnobValue]) -> str:
    """`width=64, depth=1`."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def random_move(view: ContextView, rng: random.Random) -> tuple[str, KnobValue] | None:
    """A move at random: uniform over knobs, then over the legal values of that knob that lead somewhere new.

    None where every one was tried.
    """
    space = view.space
    for _ in range(DRAWS if space.names else 0):
        name = rng.choice(space.names)
        value = space.draw(name, rng)
        if space.legal(name, value) and view.is_new(name, value):
            return name, value
    new = [move for move in _legal_moves(view) if view.is_new(*move)]
    return rng.choice(new) if new else None


def repeat(view: ContextView, rng: random.Random, started: float) -> Reply:
    """What is said when nothing new is left: a legal move, for the rails to name the trial that it repeats.

    Raises:
        NoReplyError: no move is legal.
    """
    legal = _legal_moves(view)
    if not legal:
        fix = "widen the menu in task.toml"
        raise NoReplyError("no knob can be moved: every other value breaks a rule of the menu", fix=fix)
    return view.reply(*rng.choice(legal), "nothing new is left within reach: a repeat", started)


def _legal_moves(view: ContextView) -> list[tuple[str, KnobValue]]:
    space = view.space
    return [(name, value) for name in space.names for value in space.every(name) if space.legal(name, value)]
