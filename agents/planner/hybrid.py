"""A search that leads and a model that helps: the default with a configured model.

The statistical search proposes its best moves. In a share of the trials the model, as the specialist whose turn it is,
picks one of those on that specialist's knobs and says why; when the search is stuck, it may write code instead. In the
others the search's first move is taken as it is. Published
measurements have a pure menu model losing to random search, and such hybrids not losing to the search alone.

Import this module lazily: langchain takes seconds to load.
"""

import hashlib
from dataclasses import replace

from agents.base import NoReplyError, NoReplyKind, ProposalContext, Reply
from agents.planner.critic import draft_move
from agents.planner.planner import Planner
from agents.planner.turn import Offer
from agents.statistical.proposers import Suggestion, TpeProposer
from memory.records import Origin, TrialKind
from rails.status import Status

PREFIX = "hybrid:"

LOOKED_THROUGH = 40
"""So many of the search's best moves are looked through for those of the specialist whose turn it is."""


class HybridProposer:
    """The search's moves, some of them chosen by a model.

    Args:
        planner: asks the model.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._search = TpeProposer()

    repairs_crashes = True

    @property
    def name(self) -> str:
        """`hybrid:` and the model's name in models.toml."""
        return f"{PREFIX}{self._planner.name}"

    def check_ready(self) -> None:
        """Whether somebody listens at the model's endpoint.

        Raises:
            NoReplyError: nobody does.
        """
        self._planner.check_ready()

    def propose(self, context: ProposalContext) -> Reply:
        """The search's first move, or what the model makes of its best ones.

        Raises:
            NoReplyError: the endpoint gave no answer, or nothing is left to propose.
        """
        modes = context.task.edit.modes
        if "knob" not in modes or context.crash is not None:
            return self._planner.propose(context)  # there is no move to choose from, or code of the model's to repair
        if not self._is_the_models(context):
            return self._search.propose(context)
        best = self._search.best_moves(context, LOOKED_THROUGH)
        stuck = "diff" in modes and trials_since_keep(context) >= context.task.lineage.stuck_after
        if not best:
            return self._planner.propose(context) if stuck else self._search.propose(context)

        def suggest(knobs: tuple[str, ...]) -> Offer:
            return _offer(_best_of(best, knobs)[: context.task.planner.candidates], stuck=stuck)

        reply = self._planner.plan(context, suggest=suggest, code=stuck)
        if reply.origin is Origin.CODE:
            return reply
        first = draft_move(reply.raw) == (best[0].knob, best[0].value)
        return replace(reply, origin=Origin.SEARCH if first else Origin.CHOICE)

    def _is_the_models(self, context: ProposalContext) -> bool:
        """Whether the model decides this trial: by lot, the same for every attempt at it."""
        lot = hashlib.sha256(f"{context.seed}:{context.trial_seq}:share".encode()).digest()
        return int.from_bytes(lot[:4], "big") / 2**32 < context.task.planner.share


def _best_of(best: list[Suggestion], knobs: tuple[str, ...]) -> list[Suggestion]:
    """The moves on a specialist's knobs, in their order; all of them where it has none left."""
    return [move for move in best if not knobs or move.knob in knobs] or best


def trials_since_keep(context: ProposalContext) -> int:
    """Decided trials since the last one that was kept."""
    count = 0
    for trial in reversed(context.trials):
        if trial.kind is TrialKind.BASELINE or trial.status is Status.KEEP:
            break
        count += trial.status is not None
    return count


def _offer(best: list[Suggestion], *, stuck: bool) -> Offer:
    if not best:
        raise NoReplyError("every legal move was tried", fix="widen the menu in task.toml", kind=NoReplyKind.USED_UP)
    moves = {}
    for suggestion in best:
        moves[suggestion.knob] = (*moves.get(suggestion.knob, ()), suggestion.value)
    lines = ["# What the search suggests, best first", ""]
    lines += [f"{place}. {move.knob} = {move.value} ({move.reason})" for place, move in enumerate(best, start=1)]
    lines += ["", "Choose one of these, the one that you believe in most, and say why in one sentence."]
    if stuck:
        lines.append("Nothing was kept for a while: you may change the code instead.")
    return Offer(moves=moves, text="\n".join(lines))
