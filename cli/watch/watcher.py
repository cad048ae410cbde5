"""What there is to see of a campaign at one moment, from the published snapshot and the loop's live file alone.

Nothing here takes a lock, opens the store, or can keep a loop waiting.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.inputs.workspaces import holder_of
from cli.show.status import status_document
from graph.watching.live import LiveState, read_live
from graph.workspace import Workspace
from memory.database.queries import CALL_SUMS, TrialCalls
from memory.lock import Holder
from memory.reader import Reader
from memory.records import Campaign, CampaignState, Event, Measurement, Purpose, Trial, TrialKind
from memory.snapshot.manifest import MANIFEST
from memory.snapshot.needs import EVERYTHING, Needs
from memory.statistics.noise import Noise
from rails.clocks import counts_time
from rails.errors import UserError
from rails.status import QUARANTINED

TABLES: Needs = {**{name: EVERYTHING[name] for name in ("trials", "measurements", "events")}, **CALL_SUMS}
"""What is read of the snapshot: of calls hardly anything, as prompts are most of it."""

SHARE = 0.05
"""Of the time, at most so much goes into reading the snapshot: the cores belong to the training."""

PACE_TRIALS = 20
"""The last trials, of which rates are told."""

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was published of the campaign that was started last."""

    campaign: Campaign
    trials: list[Trial]
    document: dict[str, Any]
    """As `nightshift status --json`, but its state may be another now; events are complete."""
    best_curve: tuple[tuple[float, float], ...]
    """(share of the budget, loss) of the incumbent's first training; empty when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known at one moment."""

    now_s: float
    """By the monotonic clock."""
    record: Record | None = None
    """None before a campaign has begun."""
    live: LiveState | None = None
    """Of the loop at work; None when there is none, or it has not said anything yet."""
    at_work: bool = False
    trouble: str | None = None
    """Why the snapshot could not be read just now; what is shown is older then."""

    @property
    def state(self) -> str:
        """running, paused, waiting, ended, dead (a loop that was killed), or none (no campaign yet)."""
        if self.live is not None:
            return str(self.live.state)
        if self.record is None:
            return "starting" if self.at_work else "none"
        ended = self.record.campaign.state is CampaignState.ENDED
        return "starting" if self.at_work else "ended" if ended else "dead"

    @property
    def active_s(self) -> float | None:
        """Running time of the campaign."""
        if self.live is not None and self.live.campaign_id is not None:
            paused = self.live.state is CampaignState.PAUSED
            return self.live.active_s + (0.0 if paused else max(0.0, self.now_s - self.live.monotonic_s))
        return None if self.record is None else self.record.campaign.active_s

    @property
    def usd(self) -> float | None:
        """Dollars that the campaign has spent, the trial in hand included; None when nothing has a price."""
        return self._newest(None if self.record is None else self.record.document["usd"], "usd")

    @property
    def joules(self) -> float | None:
        """Energy that the campaign has taken; None without a meter."""
        return self._newest(None if self.record is None else self.record.campaign.joules, "joules")

    def _newest(self, published: float | None, name: str) -> float | None:
        """What the loop says now, or what it published last: either may be seen first, and neither ever shrinks."""
        live, record = self.live, self.record
        same = live is not None and record is not None and live.campaign_id == record.campaign.campaign_id
        known = [amount for amount in (published, getattr(live, name) if same else None) if amount is not None]
        return max(known, default=None)


class Watcher:
    """Looks at a workspace again and again, and reads again only what is new.

    Args:
        workspace: to look at.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._seen: tuple[int, ...] | None = None
        self._record: Record | None = None
        self._next_s = 0.0
        self._trouble: str | None = None
        self._curve_of: tuple[str, tuple[tuple[float, float], ...]] = ("", ())

    def look(self) -> Sight:
        """What is known now."""
        holder = holder_of(self._workspace)
        self._refresh()
        return Sight(
            now_s=time.monotonic(),
            record=self._record,
            live=self._live(holder),
            at_work=holder is not None,
            trouble=self._trouble,
        )

    def _live(self, holder: Holder | None) -> LiveState | None:
        """The live file, if it is that of the loop at work and not what a killed one left."""
        live = read_live(self._workspace.live_path)
        if live is None or holder is None:
            return None
        same = (live.pid, live.host, live.started_s) == (holder.pid, holder.host, holder.started_s)
        return live if same else None

    def _refresh(self) -> None:
        """Read the snapshot again when another was published, but not all the time."""
        stamp, started = _stamp(self._workspace.snapshot_dir / MANIFEST), time.monotonic()
        if stamp is None or stamp == self._seen or started < self._next_s:
            return
        try:
            self._record, self._trouble = self._read(), None
            self._seen = stamp
        except UserError as error:
            self._trouble = error.what
        ended = time.monotonic()
        self._next_s = ended + (ended - started) / SHARE

    def _read(self) -> Record | None:
        with Reader.open(self._workspace.snapshot_dir, TABLES) as reader:
            campaign = reader.latest_campaign()
            if campaign is None:
                return None
            once = _Once(reader, campaign)
            document = status_document(once, campaign)
            return Record(
                campaign=campaign,
                trials=once.trials(campaign.campaign_id),
                document={**document, "events": once.events(campaign.campaign_id)},
                best_curve=self._best_curve(reader, campaign),
            )

    def _best_curve(self, reader: Reader, campaign: Campaign) -> tuple[tuple[float, float], ...]:
        """Read only when the incumbent is another one: all curves have to be opened for it."""
        incumbent = campaign.incumbent_trial_id
        if incumbent is None:
            return ()
        if self._curve_of[0] != incumbent:
            first = next((m for m in reader.measurements(incumbent) if m.purpose is Purpose.SEARCH), None)
            self._curve_of = (incumbent, () if first is None else self._curve(first, campaign))
        return self._curve_of[1]

    def _curve(self, measurement: Measurement, campaign: Campaign) -> tuple[tuple[float, float], ...]:
        with Reader.open(self._workspace.snapshot_dir, {"curves"}) as reader:
            curve = reader.curve(measurement.measurement_id)
        if curve is None:
            return ()
        kind = (campaign.task.get("budget") or {}).get("kind")
        along = curve.elapsed_s if counts_time(kind) else curve.tokens if kind == "tokens" else curve.step
        most = max(along, default=0) or 1
        return tuple((at / most, loss) for at, loss in zip(along, curve.loss, strict=True))


class _Once:
    """The records of one campaign that a status needs, each read once."""

    def __init__(self, reader: Reader, campaign: Campaign) -> None:
        self._reader = reader
        self._trials = reader.trials(campaign.campaign_id)
        self._events = reader.events(campaign.campaign_id)
        self._noise = reader.store_noise(campaign.campaign_id)

    def trials(self, campaign_id: str) -> list[Trial]:
        """See `Records`; likewise all others."""
        return self._trials

    def measurements(self, trial_id: str) -> list[Measurement]:
        """See `Records`."""
        return self._reader.measurements(trial_id)

    def events(self, campaign_id: str) -> list[Event]:
        """See `Records`."""
        return self._events

    def store_noise(self, campaign_id: str) -> Noise:
        """See `Records`."""
        return self._noise

    def calls_by_trial(self, campaign_id: str) -> list[TrialCalls]:
        """See `Records`."""
        return self._reader.calls_by_trial(campaign_id)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True, slots=True)
class Remaining:
    """How long it is to a limit."""

    what: str
    """`37 trials`, `2.5 hours`, …"""
    seconds: float | None
    """Of running, at the present pace; None: there is none yet."""


def trials_per_hour(trials: Sequence[Trial]) -> float | None:
    """How many of the last trials fit into an hour of their own time; None before there is one."""
    times = [t.total_s for t in trials if t.kind is TrialKind.SEARCH and t.status is not None and t.total_s > 0]
    recent = times[-PACE_TRIALS:]
    return 3600 * len(recent) / sum(recent) if recent else None


def remaining(
    limits: dict[str, Any], trials: Sequence[Trial], active_s: float, usd: float | None, joules: float | None
) -> Remaining | None:
    """The limit that ends the search first, as far as the present pace tells; None when no limit can be foreseen.

    Args:
        limits: of the campaign; 0 is none.
        trials: all of it.
        active_s: its running time.
        usd: its dollars so far.
        joules: its energy so far.
    """
    found: list[Remaining] = []
    decided = [t for t in trials if t.status is not None]
    if limits.get("trials"):
        done = sum(t.kind is TrialKind.SEARCH and t.status not in QUARANTINED for t in decided)
        left, pace = max(0, limits["trials"] - done), trials_per_hour(trials)
        found.append(Remaining(f"{left} trial{'' if left == 1 else 's'}", None if pace is None else 3600 * left / pace))
    if limits.get("hours"):
        seconds = max(0.0, 3600 * limits["hours"] - active_s)
        found.append(Remaining(f"{seconds / 3600:.1f} hours", seconds))
    for limit, used, unit in ((limits.get("usd"), usd or 0.0, "usd"), (limits.get("joules"), joules, "joules")):
        if limit and used is not None:
            left = max(0.0, limit - used)
            found.append(Remaining(f"{left:.3g} {unit}", active_s * left / used if used else None))
    known = [one for one in found if one.seconds is not None]
    return min(known, key=lambda one: one.seconds or 0.0) if known else found[0] if found else None
