"""What a night cost, and each keep that is real with it. What was not measured or has no price stays unknown."""

from dataclasses import dataclass

from memory.figures.campaign import ReportData

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Where the joules of a campaign went; a part is None when it was not measured."""

    total: float | None
    """Of all loops of the campaign; None where the machine has no meter."""
    proposing: float | None
    training: float | None
    scoring: float | None
    rest: float | None
    """The loop's own and idle: what is left of the total when the three others are known."""
    trials_measured: int
    """Decided trials whose joules are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Energy and money. `confirmed` counts keeps whose gain is above zero with its whole 95 % interval."""

    keeps: int
    confirmed: int
    energy: Energy
    usd_per_kwh: float | None
    energy_usd: float | None
    """None without a measurement or without a price."""
    api_usd: float | None
    """What models charged; 0 when none was asked, None when a price of what was asked is not known at all."""
    api_requests: int | None
    """Requests to models; None when a log does not say."""
    api_unpriced: int
    """Requests whose price is not known: `api_usd` is without them."""

    @property
    def joules_per_confirmed(self) -> float | None:
        """Joules per confirmed keep; None when there is none, or energy was not measured."""
        return self._each(self.energy.total)

    @property
    def energy_usd_per_confirmed(self) -> float | None:
        """Dollars of energy per confirmed keep."""
        return self._each(self.energy_usd)

    @property
    def api_usd_per_confirmed(self) -> float | None:
        """Dollars of models per confirmed keep; None while a part of them is not known."""
        return None if self.api_unpriced else self._each(self.api_usd)

    def _each(self, total: float | None) -> float | None:
        return None if total is None or not self.confirmed else total / self.confirmed


def costs_of(data: ReportData, usd_per_kwh: float | None = None) -> Costs:
    """The costs of a campaign.

    Args:
        data: the campaign.
        usd_per_kwh: price of energy; None: that of the campaign's task, which may be unknown.
    """
    price = _price(data) if usd_per_kwh is None else usd_per_kwh
    energy = energy_of(data)
    kwh = None if energy.total is None else energy.total / JOULES_PER_KWH
    api_usd, requests, unpriced = _api(data)
    return Costs(
        keeps=len(data.gains),
        confirmed=len(data.confirmed),
        energy=energy,
        usd_per_kwh=price,
        energy_usd=None if kwh is None or price is None else kwh * price,
        api_usd=api_usd,
        api_requests=requests,
        api_unpriced=unpriced,
    )


def energy_of(data: ReportData) -> Energy:
    """The energy of a campaign by part. A part is the sum over the trials that know it."""
    total = data.campaign.joules
    if total is None:
        total = _sum([t.joules for t in data.decided])
    parts = [
        _sum([getattr(t, name) for t in data.decided]) for name in ("propose_joules", "train_joules", "score_joules")
    ]
    known = [part for part in parts if part is not None]
    rest = None if total is None or len(known) < len(parts) else max(0.0, total - sum(known))
    return Energy(
        total=total,
        proposing=parts[0],
        training=parts[1],
        scoring=parts[2],
        rest=rest,
        trials_measured=sum(t.joules is not None for t in data.decided),
    )


def _api(data: ReportData) -> tuple[float | None, int | None, int]:
    """Dollars, requests, and requests without a price."""
    calls = data.calls
    if calls.requests:
        return calls.usd, calls.requests, calls.requests - calls.priced
    priced = _sum([t.usd for t in data.decided])
    if data.campaign.source is not None:
        return priced, None, 0
    return priced or 0.0, 0, 0


def _price(data: ReportData) -> float | None:
    price = data.part("energy").get("usd_per_kwh")
    return float(price) if isinstance(price, int | float) and not isinstance(price, bool) else None


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
