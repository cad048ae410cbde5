"""What a lineage block is made of: the rows of one campaign, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from memory.keep.comparable import comparable, direction_of
from memory.keep.evidence import Direction, Points
from memory.lineage.digest import Digest
from memory.lineage.prospects import Prospects
from memory.lineage.view import View
from memory.records import Campaign, Lesson, Measurement, Trial
from memory.statistics.noise import Noise
from rails.task import LineageConfig

NEAR_READ = 24
"""So many near misses are looked at for ideas; fewer are shown."""


@dataclass(frozen=True, kw_only=True)
class LineageRows:
    """One campaign at one moment."""

    campaign: Campaign
    digest: Digest
    best: Trial | None
    """The incumbent; the baseline before the first keep."""
    measurements: dict[str, list[Measurement]]
    """Of the baseline and the best."""
    lessons: Sequence[Lesson]
    """Oldest first."""
    noise: Noise
    config: LineageConfig
    view: View | None = None
    """Whose eyes it is seen with; None: nobody's in particular, and then everything concerns them."""

    def concerns(self, trial: Trial) -> bool:
        """Whether a trial concerns whoever reads the block."""
        return self.view is None or self.view.concerns(trial)

    def reaches(self, knob: str) -> bool:
        """Whether whoever reads the block may change the knob."""
        return self.view is None or self.view.reaches(knob)

    @property
    def baseline(self) -> Trial | None:
        """Trial 0, once it is measured."""
        return self.digest.baseline

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        return direction_of(self.campaign)

    @property
    def modes(self) -> Sequence[str]:
        """The forms of edit that the task allows."""
        return (self.campaign.task.get("edit") or {}).get("modes", ("knob", "diff"))

    def scores(self, trial: Trial) -> Points:
        """What may be compared of the baseline or the best."""
        return comparable(self.measurements.get(trial.trial_id, []), self.campaign)

    @property
    def is_stuck(self) -> bool:
        """Whether it is time for other ideas."""
        return self.baseline is not None and self.digest.since_keep() >= self.config.stuck_after

    @cached_property
    def near(self) -> tuple[list[Trial], int]:
        """The best near misses that concern the reader, best evidence first, and how many there are."""
        if self.view is None:
            return self.digest.near_misses(self.noise, NEAR_READ)
        every, _ = self.digest.near_misses(self.noise, len(self.digest.trials))
        found = [trial for trial in every if self.concerns(trial)]
        return found[:NEAR_READ], len(found)

    @cached_property
    def prospects(self) -> Prospects:
        """What may be tried on today's best."""
        return prospects_of(self.campaign, self.digest)


def prospects_of(campaign: Campaign, digest: Digest) -> Prospects:
    """What may be tried on the campaign's best of today."""
    best = digest.by_id.get(campaign.incumbent_trial_id or "", digest.baseline)
    limit = (campaign.task.get("trial") or {}).get("memory_bytes")
    return Prospects(digest, best, size_limit_bytes=limit or None)


def lineage_config(campaign: Campaign) -> LineageConfig:
    """The block's parameters as the campaign's task states them; the defaults for a task from before there were any."""
    stated = campaign.task.get("lineage")
    return LineageConfig.model_validate(stated) if stated else LineageConfig()
