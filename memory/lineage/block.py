"""The lineage block: what the store knows, as Markdown for the next proposer.

A deterministic function of the store's rows: no clock, no randomness, the same rows give the same text. It is written
for a small model with little room: every line stands alone, numbers are short, and a line is shown whole or not at all.
Text that came from models or crashed programs is cleaned before it is shown to the next one. Trials that were
interrupted or aborted say nothing about their hypothesis and are left out. What each section says: docs/lineage.md.

Its first part is the record up to a trial at which it settled, the same for every reader and every proposal until it
settles again: a server that keeps the prefix of its last prompt reads it once. What came since, the present state and
what concerns one specialist stand behind it.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from memory.lineage import sections
from memory.lineage.budget import count_tokens, fit
from memory.lineage.digest import Digest, read_menu
from memory.lineage.out_of_ideas import out_of_ideas
from memory.lineage.rows import LineageRows, lineage_config
from memory.lineage.view import View
from memory.records import Campaign, Lesson, Measurement, Trial
from memory.statistics.noise import Noise
from rails.task import LineageConfig

SETTLED_BY = 10
"""After so many trials since the incumbent, or since it settled last, the first part of the block takes them in."""

SETTLED_SHARE, NOW_TOKENS = 0.6, 140
"""Most of the budget that the first part may take, and what it leaves to the rest in any case."""


class LineageSource(Protocol):
    """What a store and a reader have in common, as far as the block needs it."""

    def campaign(self, campaign_id: str) -> Campaign:
        """The campaign."""
        ...

    def trials(self, campaign_id: str) -> list[Trial]:
        """Its trials, by number."""
        ...

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial."""
        ...

    def lessons(self, campaign_id: str) -> list[Lesson]:
        """Its lessons, oldest first."""
        ...

    def noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement."""
        ...


class Lineage:
    """The block of one campaign, for whoever renders it again after every trial.

    It counts on from what it knew: rows that are still the same objects are not looked at again (see
    `memory.lineage.digest`). The text is the same as that of `render_lineage`.

    Args:
        source: the store, or a reader of its snapshot.
        campaign_id: which campaign.
    """

    def __init__(self, source: LineageSource, campaign_id: str) -> None:
        self._source, self._campaign_id = source, campaign_id
        menu = read_menu(source.campaign(campaign_id).task)
        self._digest, self._settled = Digest(menu), Digest(menu)

    def render(
        self,
        specialist: str | None = None,
        knobs: Collection[str] = (),
        *,
        config: LineageConfig | None = None,
        settled_by: int = SETTLED_BY,
    ) -> str:
        """The block as the rows are now.

        Args:
            specialist: for whom; None: for nobody in particular.
            knobs: those of the menu that the specialist may change; none: all of them.
            config: budget, length and when it is time for other ideas; None: as the campaign's task states them.
            settled_by: how many trials the first part takes in at a time; 1: it has all of them.
        """
        view = None if specialist is None else View(specialist, frozenset(knobs))
        trials = self._source.trials(self._campaign_id)
        now = self._rows(trials, view, config)
        self._settled.update(trials[: bisect_right(trials, _settled_at(now, settled_by), key=_seq)])
        lessons = now.lessons[: _lessons_of(self._settled, now.lessons)]
        return _render(replace(now, digest=self._settled, lessons=lessons, view=None), now)

    def _rows(self, trials: list[Trial], view: View | None, config: LineageConfig | None) -> LineageRows:
        source, campaign = self._source, self._source.campaign(self._campaign_id)
        self._digest.update(trials)
        baseline = self._digest.baseline
        best = self._digest.by_id.get(campaign.incumbent_trial_id or "", baseline)
        shown = {trial.trial_id for trial in (baseline, best) if trial is not None}
        return LineageRows(
            campaign=campaign,
            digest=self._digest,
            best=best,
            measurements={trial_id: source.measurements(trial_id) for trial_id in shown},
            lessons=source.lessons(self._campaign_id),
            noise=source.noise(self._campaign_id),
            config=config or lineage_config(campaign),
            view=view,
        )


def render_lineage(
    source: LineageSource,
    campaign_id: str,
    config: LineageConfig | None = None,
    *,
    specialist: str | None = None,
    knobs: Collection[str] = (),
    settled_by: int = SETTLED_BY,
) -> str:
    """The block that the next proposal of this campaign may read, counted from nothing; see `Lineage`."""
    return Lineage(source, campaign_id).render(specialist, knobs, config=config, settled_by=settled_by)


def lineage_sha256(text: str) -> str:
    """The hash under which a block is stored."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _settled_at(rows: LineageRows, every: int) -> int:
    """The number of the last trial that the first part of the block has: the incumbent's, or a multiple beyond it."""
    trials = rows.digest.trials
    start = -1 if rows.best is None else rows.best.seq
    first = bisect_right(trials, start, key=_seq)
    whole = (len(trials) - first) // every * every
    return trials[first + whole - 1].seq if whole else start


def _seq(trial: Trial) -> int:
    return trial.seq


def _lessons_of(digest: Digest, lessons: Sequence[Lesson]) -> int:
    """How many of the lessons, oldest first, are of a digest's trials or stand before those."""
    return next((n for n in range(len(lessons), 0, -1) if lessons[n - 1].trial_id in digest.by_id), 0)


def _render(then: LineageRows, now: LineageRows) -> str:
    """The block of what was known when it settled, and of what is known now."""
    settled = [
        sections.chain(then),
        sections.near(then),
        sections.failures(then),
        sections.tried(then),
        sections.code(then),
        sections.untouched(then),
        sections.latest(then),
        sections.lessons(then),
    ]
    most = now.config.max_tokens
    first = fit(sections.heading(then), settled, max(0, min(int(SETTLED_SHARE * most), most - NOW_TOKENS)))
    own = [] if now.view is None else [sections.own(now, now.view)]
    after = [sections.since(then, now), sections.state(now), *own, out_of_ideas(now)]
    return first + fit("", after, most - count_tokens(first)).removeprefix("\n")
