"""The lineage block: what the store knows, as Markdown for the next proposer.

A deterministic function of the store's rows: no clock, no randomness, the same rows give the same text. It is written
for a small model with little room: every line stands alone, numbers are short, and a line is shown whole or not at all.
Text that came from models or crashed programs is cleaned before it is shown to the next one. Trials that were
interrupted or aborted say nothing about their hypothesis and are left out.
"""

import hashlib
import re
from functools import lru_cache
from math import ceil
from typing import Protocol

from memory import lineage_sections as sections
from memory.lineage_sections import LineageRows, Section
from memory.noise import Noise
from memory.records import Campaign, Lesson, Measurement, Phase, Trial
from rails.status import QUARANTINED

_PIECES = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+|\n")


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


def render_lineage(source: LineageSource, campaign_id: str, max_tokens: int = 2000, last: int = 10) -> str:
    """The block that the next proposal of this campaign may read.

    Args:
        source: the store or a reader of its snapshot.
        campaign_id: which campaign.
        max_tokens: budget by `count_tokens`. Sections give up their weakest lines first; the current best always stays.
        last: how many of the latest trials to list.
    """
    return render_rows(_rows(source, campaign_id), max_tokens=max_tokens, last=last)


def render_rows(rows: LineageRows, *, max_tokens: int, last: int) -> str:
    """The block for rows already read."""
    parts = [
        sections.best(rows),
        sections.chain(rows),
        sections.near(rows),
        sections.failures(rows),
        sections.tried(rows),
        sections.untouched(rows),
        sections.latest(rows, last),
        sections.lessons(rows),
    ]
    heading = sections.heading(rows)
    taken = _fit([part for part in parts if part.lines], max_tokens - count_tokens(heading))
    return "\n".join([heading, *(_show(part, taken[part.title]) for part in parts if taken.get(part.title))]) + "\n"


def lineage_sha256(text: str) -> str:
    """The hash under which a block is stored."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@lru_cache(maxsize=4096)  # from trial to trial most lines stay the same
def count_tokens(text: str) -> int:
    """About as many tokens as a byte-pair tokenizer makes of `text`; rather too many than too few.

    Words count one token for each six letters, digits one for each three, other marks one for each two, newlines one.
    """
    total = 0
    for piece in _PIECES.findall(text):
        size = 6 if piece[0].isalpha() else 3 if piece[0].isdigit() else 2
        total += ceil(len(piece) / size)
    return total


def _rows(source: LineageSource, campaign_id: str) -> LineageRows:
    campaign = source.campaign(campaign_id)
    every = source.trials(campaign_id)
    decided = [trial for trial in every if trial.phase is Phase.DECIDED and trial.status not in QUARANTINED]
    baseline = next((trial for trial in decided if trial.seq == 0), None)
    best = next((trial for trial in decided if trial.trial_id == campaign.incumbent_trial_id), baseline)
    shown = {trial.trial_id for trial in (baseline, best) if trial is not None}
    known = {trial.trial_id for trial in decided}
    return LineageRows(
        campaign=campaign,
        trials=decided,
        baseline=baseline,
        best=best,
        measurements={trial_id: source.measurements(trial_id) for trial_id in shown},
        lessons=[lesson for lesson in source.lessons(campaign_id) if lesson.trial_id in known],
        noise=source.noise(campaign_id),
    )


def _fit(parts: list[Section], budget: int) -> dict[str, int]:
    """How many lines of each section fit: a few of every section, then enough of it, then all."""
    taken = dict.fromkeys((part.title for part in parts), 0)
    by_priority = sorted(parts, key=lambda part: part.priority)
    for wanted in (_least, _enough, _all):
        for part in by_priority:
            while taken[part.title] < wanted(part):
                line = part.lines[part.order[taken[part.title]]]
                cost = count_tokens(line) + 1 + (0 if taken[part.title] else count_tokens(part.title) + 12)
                if cost > budget and part.priority > 0:
                    break
                budget -= cost
                taken[part.title] += 1
    return taken


def _least(part: Section) -> int:
    return min(part.least, len(part.lines))


def _enough(part: Section) -> int:
    return min(part.enough, len(part.lines))


def _all(part: Section) -> int:
    return len(part.lines)


def _show(part: Section, taken: int) -> str:
    chosen = sorted(part.order[:taken])
    left = len(part.lines) - taken + part.more
    more = [f"- … and {left} more"] if left else []
    return "\n".join(["", f"## {part.title}", *(part.lines[index] for index in chosen), *more])
