"""The proposers that set several knobs at once: `cma` and `gp`, the searches that people would use otherwise.

They propose whole settings, relative to no incumbent: what differs from it is the edit. Like `random` and `tpe` they
keep no state: the store's rows and the campaign's seed decide, and asked again they answer the same.
"""

import hashlib
import random
import time
from collections.abc import Iterator, Mapping

from agents.base import KnobValue, NoReplyError, ProposalContext, Reply
from agents.statistical.history import History, read_history, refused_settings
from agents.statistical.moves import Config, MoveSpace, config_key
from agents.statistical.view import knobs_reply, shown
from rails.task import Task

DRAWS = 300
"""Settings drawn at random when a search offers nothing new."""

FAILED_SHARE = 0.25
"""A failure counts as worse than the worst score by this share of the span of all scores."""


class CmaProposer:
    """Covariance-matrix adaptation with margins for discrete knobs (`whole.py`)."""

    name = "cma"
    repairs_crashes = False

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """The next setting of its run.

        Raises:
            NoReplyError: the task allows no edit of several knobs, or every setting was tried.
        """
        started = time.monotonic()
        known = _Known(context)
        from agents.statistical.whole import cma_setting  # here: Optuna takes a second to import

        offered = cma_setting(known.space, known.score, known.start, context.seed)
        return known.reply(offered, "CMA-ES", started)


class GpProposer:
    """A Gaussian process and its expected improvement (`whole.py`)."""

    name = "gp"
    repairs_crashes = False

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """The setting that promises most.

        Raises:
            NoReplyError: the task allows no edit of several knobs, or every setting was tried.
        """
        started = time.monotonic()
        known = _Known(context)
        from agents.statistical.whole import gp_setting  # here: Optuna takes a second to import

        offered = gp_setting(known.space, known.score, known.settings, known.seed)
        return known.reply(offered, "Gaussian process", started)


class _Known:
    """What a context says of whole settings.

    Raises:
        NoReplyError: the task allows no edit of several knobs.
    """

    def __init__(self, context: ProposalContext) -> None:
        if "knobs" not in context.task.edit.modes:
            what = "this proposer sets several knobs at once, and the task allows no such edit"
            raise NoReplyError(what, where="task.toml", fix='add "knobs" to edit.modes')
        self.space = MoveSpace(context.menu, context.knobs, size_limit_bytes=context.task.memory_limit_bytes)
        history = read_history(context.trials, context.menu, context.knobs)
        self.start = dict(history.points[0].knobs) if history.points else dict(context.knobs)
        self.settings: list[Mapping[str, KnobValue]] = [point.knobs for point in history.points]
        self._scores, self._bad = _scores(history, context.task)
        refused = refused_settings(context.feedback, context.knobs)
        self._scores |= dict.fromkeys((refused | history.tried) - self._scores.keys(), self._bad)
        digest = hashlib.sha256(f"{context.seed}:{context.trial_seq}:{context.attempt}".encode()).digest()
        self.seed: int = int.from_bytes(digest[:4], "big")

    def score(self, config: Config) -> float | None:
        """What a setting scored, lower is better; of one that breaks a rule of the menu as a failure. None: unknown."""
        found = self._scores.get(config)
        return found if found is not None else None if self.space.allows(dict(config)) else self._bad

    def reply(self, setting: Mapping[str, KnobValue] | None, who: str, started: float) -> Reply:
        """The raw proposal of a setting, or of one at random where the search offers none.

        Raises:
            NoReplyError: there is none left.
        """
        drawn = setting is None
        found = next(self._drawn(), None) if setting is None else setting
        if found is None:
            raise NoReplyError("every setting of the menu was tried", fix="widen the menu in task.toml")
        changed = {name: value for name, value in found.items() if value != self.space.current(name)}
        moved = shown(changed)
        reason = f"{who}: {moved}" if not drawn else f"{who} offers nothing new; drawn at random: {moved}"
        return knobs_reply(self.space, changed, reason, started)

    def _drawn(self) -> Iterator[Mapping[str, KnobValue]]:
        rng = random.Random(self.seed)
        for _ in range(DRAWS):
            setting = {name: self.space.draw(name, rng) for name in self.space.names}
            if self.score(config_key({**self.space.knobs, **setting})) is None:
                yield setting


def _scores(history: History, task: Task) -> tuple[dict[Config, float], float]:
    """What was scored, lower is better, failures included; and what a failure counts as."""
    sign = 1.0 if task.metric.direction == "minimize" else -1.0
    known = [sign * point.metric for point in history.points if point.metric is not None]
    bad = max(known) + FAILED_SHARE * ((max(known) - min(known)) or abs(known[0]) or 1.0) if known else 1.0
    scores = {config_key(point.knobs): bad if point.metric is None else sign * point.metric for point in history.points}
    return scores, bad
