"""How long loops have worked on a campaign, and what energy the machine took meanwhile: all of its loops together."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from graph.limits import Spent
from memory.records import Campaign
from rails.errors import UserError
from rails.task import LimitsConfig
from trainer.energy import EnergyMeter


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
    """

    def __init__(self, campaign: Campaign, meter: Meter | None) -> None:
        self._meter = meter
        self._active_s, self._since = campaign.active_s, time.monotonic()
        self._last = self._read()
        self._joules = campaign.joules if self._last is None else campaign.joules or 0.0
        self._of_trial = self._last

    @property
    def active_s(self) -> float:
        """Seconds of running so far, pauses left out."""
        return self._active_s + time.monotonic() - self._since

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

    def begin_trial(self) -> None:
        """Count the joules of a trial from here on."""
        self._of_trial = self._read()

    @property
    def trial_joules(self) -> float | None:
        """What the machine took since the trial in hand was taken up; None where it has no meter."""
        now = self._read()
        return None if now is None or self._of_trial is None else now - self._of_trial

    @contextmanager
    def paused(self) -> Generator[None]:
        """Count nothing while the block runs."""
        joules = self.joules
        self._active_s = self.active_s
        try:
            yield
        finally:
            self._since, self._last, self._joules = time.monotonic(), self._read(), joules

    def _read(self) -> float | None:
        return None if self._meter is None else self._meter.read_joules()
