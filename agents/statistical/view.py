"""What a proposer that reads no text takes from its context: legal moves, the history, a seed; and a move at random."""

import hashlib
import json
import random
import time

from agents.base import KnobValue, NoReplyError, ProposalContext, Reply, local_call
from agents.statistical.history import read_history, refused_moves
from agents.statistical.moves import MoveSpace

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
        digest = hashlib.sha256(f"{context.seed}:{context.trial_seq}:{context.attempt}".encode()).digest()
        self.seed: int = int.from_bytes(digest[:4], "big")

    def is_new(self, name: str, value: KnobValue) -> bool:
        """Whether a legal move leads to a knob setting that was neither tried nor just refused."""
        return (name, value) not in self._refused and self.space.after(name, value) not in self.history.tried

    def reply(self, name: str, value: KnobValue, reason: str, started: float) -> Reply:
        """The raw proposal, as a model would give it."""
        assert not isinstance(value, bool)
        value = self.space.knob(name).normalise(value)
        raw = json.dumps({"knob": name, "new_value": value, "reason": reason}, ensure_ascii=False)
        return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),), repeatable=True)


def random_move(view: ContextView, rng: random.Random) -> tuple[str, KnobValue]:
    """A move at random: uniform over knobs, then over the legal values of that knob that lead somewhere new.

    Raises:
        NoReplyError: no move is legal.
    """
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
