"""How long loops have worked on a campaign, and what energy the machine took meanwhile: all of its loops together.

Of each trial also what it took while somebody was waited for: the proposer, a training, a scoring. Only sums that are
whole are given: a trial that another loop began, or a meter that was lost on the way, leaves what nobody knows as None.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from graph.limits.reached import Spent
from memory.records import Campaign, Phase, Trial
from rails.errors import UserError
from rails.task import LimitsConfig
from trainer.energy import EnergyMeter


class EnergyPart(StrEnum):
    """Whom a trial waits for; the rest of its joules is the loop's own, or idle."""

    PROPOSE = "propose"
    TRAIN = "train"
    """From the start of the process on, also on behalf of the incumbent."""
    SCORE = "score"
    """With the probes."""


_UNTRAINED = frozenset({Phase.OPENED, Phase.PROPOSED, Phase.RAILED})


class Meter(Protocol):
    """Anything that counts joules."""

    def read_joules(self) -> float | None:
        """Joules since some moment in the past, ever growing; None when it counts none, or no longer."""
        ...


@contextmanager
def metered(device: str, limits: LimitsConfig) -> Generator[EnergyMeter]:
    """The machine's energy meter, read while the block runs.

    Raises:
        UserError: there is a limit of joules, and the machine does not count them.
    """
    with EnergyMeter(device) as meter:
        if limits.joules and meter.read_joules() is None:
            what = f"a limit of {limits.joules:g} joules cannot be kept here: energy is {meter.describe()}"
            raise UserError(what, where="--joules or [limits] joules", fix="set it to 0 for no limit")
        yield meter


class Meters:
    """Goes on from what the campaign has stored. Seconds are the monotonic clock's: a clock that jumps changes none.

    Args:
        campaign: with what its earlier loops have used up.
        meter: of the machine; None where it has none.
        clock_s: what seconds are counted by; None: the monotonic clock.
    """

    def __init__(self, campaign: Campaign, meter: Meter | None, clock_s: Callable[[], float] | None = None) -> None:
        self._meter, self._clock_s = meter, clock_s or time.monotonic
        self._active_s, self._since = campaign.active_s, self._clock_s()
        self._last = self._read()
        self._joules = campaign.joules if self._last is None else campaign.joules or 0.0
        self._left_out = 0.0
        """Joules of pauses."""

    @property
    def active_s(self) -> float:
        """Seconds of running so far, pauses left out."""
        return self._active_s + self._clock_s() - self._since

    @property
    def joules(self) -> float | None:
        """Joules so far, as far as they were counted; None where they never were."""
        now = self._read()
        if now is not None and self._last is not None and self._joules is not None:
            self._joules += now - self._last
        self._last = now
        return self._joules

    @property
    def spent(self) -> Spent:
        """What limits are held against: a meter that was lost counts as none."""
        joules = self.joules
        return Spent(active_s=self.active_s, joules=None if self._last is None else joules)

    def begin_trial(self, resumed: Trial | None = None) -> "TrialEnergy":
        """Count the joules of a trial from here on.

        Args:
            resumed: the trial as another loop left it; what that took for it is not known. None: it begins here.
        """
        return TrialEnergy(self.counted, resumed)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Count nothing while the block runs."""
        joules, before = self.joules, self._last
        self._active_s = self.active_s
        try:
            yield
        finally:
            self._since, self._last, self._joules = self._clock_s(), self._read(), joules
            if self._last is not None and before is not None:
                self._left_out += self._last - before

    def counted(self) -> float | None:
        """What the meter says, without what it counted in pauses."""
        now = self._read()
        return None if now is None else now - self._left_out

    def _read(self) -> float | None:
        return None if self._meter is None else self._meter.read_joules()


class TrialEnergy:
    """The joules of one trial, and of its parts.

    Trials that are worked on at once each count all that the machine takes.

    Args:
        counted: what the meter says, without what it counted in pauses.
        resumed: the trial as another loop left it; None: it begins here.
    """

    def __init__(self, counted: Callable[[], float | None], resumed: Trial | None) -> None:
        self._counted = counted
        self._begun = counted()
        self._parts: dict[EnergyPart, float | None] = dict.fromkeys(EnergyPart, None if self._begun is None else 0.0)
        if resumed is None:
            return
        self._begun = self._parts[EnergyPart.PROPOSE] = None
        if resumed.phase not in _UNTRAINED or resumed.repairs:
            self._parts[EnergyPart.TRAIN] = self._parts[EnergyPart.SCORE] = None

    @contextmanager
    def part(self, part: EnergyPart) -> Generator[None]:
        """Count what the machine takes while the block runs into this part of the trial."""
        before = self._counted()
        try:
            yield
        finally:
            after, known = self._counted(), self._parts[part]
            if after is None or before is None or known is None:
                self._parts[part] = None
            else:
                self._parts[part] = known + after - before

    @property
    def fields(self) -> dict[str, float | None]:
        """All joules since the trial was taken in hand, pauses left out, and those of its parts, by the trial's fields.

        None where nobody knows all; 0 J is what was never waited for.
        """
        now = self._counted()
        whole = None if now is None or self._begun is None else now - self._begun
        return {"joules": whole, **{f"{part}_joules": joules for part, joules in self._parts.items()}}
