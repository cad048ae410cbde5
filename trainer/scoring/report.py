"""What the probes of one trained model found, whether that disqualifies it, and how small an effect is tolerated."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rails.errors import TrialError
from rails.status import Status
from trainer.scoring.blindness import SURE, Blindness, Gap

FLOOR_NATS = 1e-3
"""No effect below this is held against a model: nothing worth having fits under it."""
CAP_NATS = 0.02
"""Every effect above this is, whatever the baseline showed."""
BASELINE_FACTOR = 10.0
"""How many times the baseline's largest effect is tolerated: it is the rounding of this device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What the probes of one trained model found on one text. Effects are the largest of their kind, in nats."""

    text: str
    """Which one: `val` or `test`."""
    cuts: int
    """Cuts asked about."""
    cuts_drawn: int
    """Cuts that could have been asked about: `DEEP_CUTS`, or every place of a short text."""
    cuts_over: int
    """How many changed the answer by more than the tolerance."""
    suffix_nats: float
    order_places: int
    order_over: int
    order_nats: float
    replay_places: int
    replay_over: int
    replay_nats: float
    lean_nats: float
    """How much cheaper the real next token was when scored than after a cut, on average over the cuts asked about."""
    lean_error_nats: float
    """Standard error of `lean_nats`."""
    lean_bpb: float
    """`lean_nats` in bits per byte of the scored text: what a score would owe to it."""
    blindness: Blindness
    """How the shown text compares with the blind one."""
    bpb_per_nat: float
    """Bits per byte of the scored text for one nat a token."""
    tolerance_nats: float
    probe_s: float

    def to_json(self) -> dict[str, Any]:
        """Ready for the store. None stands for a number without bound: an answer that was no distribution."""
        return _bounded(asdict(self))

    def complaint(self) -> str | None:
        """Why the model is disqualified, in a sentence; None when it passed.

        The most telling probe speaks: a model that changes while it is scored changes in other company too, and one
        that answers differently in other company does so after a cut.
        """
        found = self._of_probes() or self._of_blindness()
        return found and (f"on the test text: {found}" if self.text == "test" else found)

    def _of_probes(self) -> str | None:
        allowed = f"by up to {{}} nats ({self.tolerance_nats:.3g} allowed)"
        if self.replay_over:
            size = allowed.format(_amount(self.replay_nats))
            where = f"{self.replay_over} of {self.replay_places} places"
            kind = "it learns while it is scored or answers at random"
            return f"{kind}: its first batch, asked again, changed at {where}, {size}"
        if self.order_over:
            size, where = allowed.format(_amount(self.order_nats)), f"{self.order_over} of {self.order_places} places"
            return (
                f"its answers depend on more than the row: in other company and order they changed at {where}, {size}; "
                "it uses other rows, remembers what it was asked, or keeps part of the model outside its saved state"
            )
        worth = f", worth about {_amount(self.lean_bpb)} bits per byte"
        if self.cuts_over:
            size, where = allowed.format(_amount(self.suffix_nats)), f"{self.cuts_over} of {self.cuts} cuts"
            return f"it looks ahead: at {where} its answer changed with the text that follows, {size}{worth}"
        if self.lean_nats - SURE * self.lean_error_nats > FLOOR_NATS:
            lean = f"{_amount(self.lean_nats)} nats a token"
            return f"it looks ahead a little everywhere: its answers leaned to the real next token by {lean}{worth}"
        return None

    def _of_blindness(self) -> str | None:
        for gap, where in (
            (self.blindness.blind, "where it was blind to what follows"),
            (self.blindness.unseen, "where no program was ever shown what follows"),
        ):
            if gap.too_large:
                return self._not_earned(gap, where)
        return None

    def _not_earned(self, gap: Gap, where: str) -> str:
        size = f"{_amount(gap.nats)} nats a token than {where}, {_amount(gap.errors)} standard errors"
        worth = f"worth about {_amount(gap.nats * self.bpb_per_nat)} bits per byte"
        return f"it knows text that it was not to know: its answers were better by {size} ({SURE:g} allowed), {worth}"


class ProbeError(TrialError):
    """A model that failed its probes: disqualified, with the report.

    Args:
        what: the probe and the size of the effect.
        report: all that was found.
    """

    def __init__(self, what: str, report: ProbeReport) -> None:
        super().__init__(Status.DISQUALIFIED, what)
        self.report = report


def calibrated_tolerance(baseline: Iterable[Mapping[str, Any]]) -> float:
    """The tolerance in nats after the baseline's stored reports: its largest effect, with room, between floor and cap.

    Without a report, as for the baseline itself, the cap.
    """
    effects = [report[kind] for report in baseline for kind in ("suffix_nats", "order_nats", "replay_nats")]
    if not effects or None in effects:
        return CAP_NATS
    return min(CAP_NATS, max(FLOOR_NATS, BASELINE_FACTOR * max(effects)))


def _bounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _bounded(value) if isinstance(value, dict) else None if value in (math.inf, -math.inf) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in values.items()
    }


def _amount(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "infinitely many"
