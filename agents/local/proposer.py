"""A student as a proposer: a legal move drawn from its own distribution, with what was tried masked."""

import random
import time

import numpy as np
from numpy.typing import NDArray

from agents.base import ProposalContext, Reply
from agents.local.scorer import probabilities
from agents.local.situation import Option, Situation, ladder_options, with_tried_values
from agents.local.student import Student
from agents.statistical.moves import Config, config_key
from agents.statistical.proposers import best_pair
from agents.statistical.view import ContextView, random_move
from rails.menu import Menu


class StudentProposer:
    """Draws from a student's distribution over legal moves that lead somewhere new.

    It draws from (campaign seed, trial, attempt) and from the store's rows alone: asked again, it answers the same.

    Args:
        name: as it was asked for, `student:NAME`.
        student: card and scorer.
    """

    repairs_crashes = False

    def __init__(self, name: str, student: Student) -> None:
        self.name = name
        self._student = student
        self._ladder: tuple[Menu, Config, int | None, list[Option]] | None = None

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """Draw a move; where every option was tried, any value that was not.

        Raises:
            NoReplyError: the task allows no single-knob edit, or no move is legal.
        """
        started = time.monotonic()
        view = ContextView(context)
        situation = self._situation(context, view)
        allowed = new_options(situation, view)
        rng = random.Random(view.seed)
        if not allowed.any():
            if (move := random_move(view, rng)) is not None:
                return view.reply(*move, f"{self.name}: none of its options is new, one at random", started)
            return best_pair(view, self.name, started)
        logits = self._student.scorer.logits(situation)
        chances = probabilities(logits, temperature=self._student.card.temperature, allowed=allowed)
        chosen = draw(chances, rng)
        name, value = situation.options[chosen]
        reason = f"{self.name}: {name}={value}, p = {chances[chosen]:.2g} among {int(allowed.sum())} new moves"
        return view.reply(name, value, reason, started)

    def _situation(self, context: ProposalContext, view: ContextView) -> Situation:
        return Situation(
            menu=context.menu,
            knobs=context.knobs,
            outcomes=view.history.outcomes,
            tried=view.history.tried,
            options=with_tried_values(view.space, self._legal(context, view), view.history.outcomes),
            seq=context.trial_seq,
            limit=context.task.limits.trials,
        )

    def _legal(self, context: ProposalContext, view: ContextView) -> list[Option]:
        """The ladder from the incumbent, which changes with every keep only: checking rules is what costs."""
        key = (context.menu, config_key(context.knobs), context.task.memory_limit_bytes)
        if self._ladder is None or self._ladder[0] is not key[0] or self._ladder[1:3] != key[1:]:
            self._ladder = (*key, ladder_options(view.space))
        return self._ladder[3]


def new_options(situation: Situation, view: ContextView) -> NDArray[np.bool_]:
    """Which options lead to a knob setting that was neither tried nor just refused."""
    return np.array([view.is_new(name, value) for name, value in situation.options], dtype=np.bool_)


def draw(chances: NDArray[np.float64], rng: random.Random) -> int:
    """The number of an option, drawn by its probability."""
    place = int(np.searchsorted(np.cumsum(chances), rng.random() * float(chances.sum()), side="right"))
    last = int(np.flatnonzero(chances)[-1])
    return min(place, last)
