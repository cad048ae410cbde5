"""What the live store keeps in memory of its own rows, so that a step of the loop costs few statements.

Every step asks for the same few rows, and a statement takes DuckDB one to three milliseconds to plan. One process owns
the file, so what was read or written once is known until a transaction is rolled back.
"""

from typing import Any, TypeVar, cast

import duckdb

from memory.database.queries import Queries, add_tried, is_tried
from memory.database.rows import CALLS, CURVES, EVENTS, LINEAGE_BLOCKS, MEASUREMENTS, TRIALS, Table
from memory.keep.comparable import measures_as, on_logarithms
from memory.records import Call, Campaign, Curve, Event, Lesson, LineageBlock, Measurement, Record, Trial, Verdict
from memory.statistics.noise import Noise, pool
from memory.statistics.pairs import PairSpread, PairSpreads
from memory.statistics.replicates import Replicates

Key = tuple[Any, ...]
R = TypeVar("R", bound=Record)

REMEMBERED = (Campaign, Trial, Measurement, Call, Verdict, Lesson)
"""Records that `recall` knows."""

LISTED = (TRIALS, MEASUREMENTS, CALLS, CURVES)
"""Tables whose keys are all kept: a key of theirs does not say where else to look for it."""


class Remembered(Queries):
    """Queries of a store that this process alone writes.

    Campaigns, trials, measurements and lessons stay in memory once read or written; calls and verdicts, which are
    large or many, only those of the trial that was asked about last.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self._campaigns: dict[str, Campaign] = {}
        self._trials: dict[str, dict[str, Trial]] = {}
        self._measurements: dict[str, dict[str, Measurement]] = {}
        self._lessons: dict[str, dict[str, Lesson]] = {}
        self._peaks: dict[str, dict[str, int]] = {}
        self._replicates: dict[tuple[str, bool], Replicates] = {}
        self._pairs: dict[str, PairSpreads] = {}
        self._tried: dict[str, dict[str, str]] = {}
        self._counts: dict[str, int] = {}
        self._blocks: set[str] | None = None
        self._block: LineageBlock | None = None
        self._curve: Curve | None = None
        self._keys: dict[str, set[Key]] = {}
        self._in_hand = ""
        self._calls: dict[str, Call] | None = None
        self._verdicts: dict[tuple[int, int], Verdict] | None = None

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self._lock:
            if not self._campaigns:
                self._campaigns = {campaign.campaign_id: campaign for campaign in super().campaigns()}
            return sorted(self._campaigns.values(), key=lambda campaign: (campaign.created_at, campaign.campaign_id))

    def campaign(self, campaign_id: str) -> Campaign:
        """The campaign with this id.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            if campaign_id not in self._campaigns:
                self.campaigns()
            if campaign_id not in self._campaigns:
                raise KeyError(f"no campaign {campaign_id!r} in the store")
            return self._campaigns[campaign_id]

    def trial(self, trial_id: str) -> Trial:
        """The trial with this id.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            for known in self._trials.values():
                if trial_id in known:
                    return known[trial_id]
            return super().trial(trial_id)

    def trials(self, campaign_id: str) -> list[Trial]:
        """All trials of a campaign, the one in hand included, by number."""
        with self._lock:
            if campaign_id not in self._trials:
                self._trials[campaign_id] = {trial.trial_id: trial for trial in super().trials(campaign_id)}
            return list(self._trials[campaign_id].values())

    def trial_by_seq(self, campaign_id: str, seq: int) -> Trial | None:
        """The trial with this number, or None."""
        trials = self.trials(campaign_id)
        if 0 <= seq < len(trials) and trials[seq].seq == seq:  # no number is left out, unless by a foreign log
            return trials[seq]
        return next((trial for trial in trials if trial.seq == seq), None)

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial, by seed index."""
        with self._lock:
            if trial_id not in self._measurements:
                found = super().measurements(trial_id)
                self._measurements[trial_id] = {measurement.measurement_id: measurement for measurement in found}
            known = self._measurements[trial_id].values()
            return sorted(known, key=lambda found: (found.seed_index, found.started_at, found.measurement_id))

    def calls(self, trial_id: str) -> list[Call]:
        """The requests to the proposer, in the order they were made."""
        with self._lock:
            known = self._calls_of(trial_id).values()
            return sorted(known, key=lambda call: (call.attempt, call.position, call.call_id))

    def verdicts(self, trial_id: str) -> list[Verdict]:
        """What the rails said, in the order they were asked."""
        with self._lock:
            known = self._verdicts_of(trial_id).values()
            return sorted(known, key=lambda verdict: (verdict.attempt, verdict.position))

    def lessons(self, campaign_id: str) -> list[Lesson]:
        """The lessons of a campaign, oldest trial first."""
        with self._lock:
            if campaign_id not in self._lessons:
                self._lessons[campaign_id] = {lesson.trial_id: lesson for lesson in super().lessons(campaign_id)}
            return list(self._lessons[campaign_id].values())

    def noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement, pooled over the campaign's replicates of identical programs."""
        return self._noise(campaign_id, logarithms=False)

    def compared_noise(self, campaign_id: str) -> Noise:
        """As `store_noise`, on the scale on which the campaign compares scores: often on logarithms another one."""
        if not on_logarithms(self.campaign(campaign_id)):
            return self.store_noise(campaign_id)
        with self._lock:
            return pool(self._noise(c.campaign_id, logarithms=True) for c in self._alike(campaign_id))

    def _noise(self, campaign_id: str, *, logarithms: bool) -> Noise:
        with self._lock:
            trials = self.trials(campaign_id)
            if not trials:
                return Noise(sd=None, df=0)
            key = campaign_id, logarithms
            if key not in self._replicates:
                machine = self.campaign(campaign_id).hardware_fingerprint
                self._replicates[key] = Replicates(machine, logarithms, self._measured_trials(campaign_id))
            return self._replicates[key].noise(self._trials[campaign_id], self.measurements)

    def _alike(self, campaign_id: str) -> list[Campaign]:
        """The campaigns that measure as this one does, oldest first; itself last."""
        wanted = measures_as(self.campaign(campaign_id))
        others = [c for c in self.campaigns() if c.campaign_id != campaign_id and measures_as(c) == wanted]
        return [*others, self.campaign(campaign_id)]

    def store_pairs(self, campaign_id: str) -> list[PairSpread]:
        """How candidates differed from their incumbents from seed to seed, over all campaigns that measure alike.

        Campaigns oldest first, and in each its trials; this campaign's own last.
        """
        with self._lock:
            return [spread for c in self._alike(campaign_id) for spread in self._pairs_of(c)]

    def _pairs_of(self, campaign: Campaign) -> list[PairSpread]:
        key = campaign.campaign_id
        if key not in self._pairs:
            trials = self._measured_trials(key)
            self._pairs[key] = PairSpreads(campaign.hardware_fingerprint, on_logarithms(campaign), trials)
        return self._pairs[key].spreads(self.measurements)

    def _measured_trials(self, campaign_id: str) -> list[Trial]:
        """Its trials, the measurements of all of them in memory: one question for those that are not."""
        trials = self.trials(campaign_id)
        found = {trial.trial_id: {} for trial in trials if trial.trial_id not in self._measurements}
        if found:
            for measurement in self.campaign_measurements(campaign_id):
                if measurement.trial_id in found:
                    found[measurement.trial_id][measurement.measurement_id] = measurement
            self._measurements.update(found)
        return trials

    def peak_bytes(self, campaign_id: str) -> dict[str, int]:
        """Trial id to the most memory that its measurements took: of the accelerator where there is one."""
        with self._lock:
            if campaign_id not in self._peaks:
                self._peaks[campaign_id] = super().peak_bytes(campaign_id)
            return dict(self._peaks[campaign_id])

    def tried_programs(self, campaign_id: str) -> dict[str, str]:
        """Program and idea key to what became of it, as in `Queries`; a copy, to be changed at will."""
        with self._lock:
            if campaign_id not in self._tried:
                self._tried[campaign_id] = super().tried_programs(campaign_id)
            return dict(self._tried[campaign_id])

    def curve(self, measurement_id: str) -> Curve | None:
        """The training curve of a measurement, or None when none was stored."""
        with self._lock:
            newest = self._curve
            if newest is not None and newest.measurement_id == measurement_id:
                return newest
            return super().curve(measurement_id)

    def lineage_block(self, sha256: str) -> LineageBlock | None:
        """The block with this hash, or None."""
        with self._lock:
            if self._block is not None and self._block.sha256 == sha256:
                return self._block
            if self._blocks is None:
                self._blocks = {str(row[0]) for row in self._fetch("SELECT sha256 FROM raw.lineage_blocks")}
            return super().lineage_block(sha256) if sha256 in self._blocks else None

    def row_count(self, table: str) -> int:
        """How many rows a numbered table has; their ordinals are 0 … count-1."""
        with self._lock:
            if table not in self._counts:
                self._counts[table] = int(self._fetch(f"SELECT count(*) FROM raw.{table}")[0][0])
            return self._counts[table]

    def has_key(self, table: Table[Any], key: Key) -> bool:
        """Whether a table may have a row with this key; of the tables of large or many rows it is certain."""
        if table not in LISTED:
            return True
        with self._lock:
            if table.name not in self._keys:
                found = self._fetch(f"SELECT {', '.join(table.key)} FROM raw.{table.name}")
                self._keys[table.name] = set(found)
            return key in self._keys[table.name]

    def take_key(self, table: Table[Any], key: Key) -> None:
        """Take note of the key of a row that was just written."""
        if table.name in self._keys:
            self._keys[table.name].add(key)

    def recall(self, record: R) -> R | None:
        """The stored row with the key of `record`, which is one of `REMEMBERED`; None when there is none."""
        with self._lock:
            return cast("R | None", self._recall(record))

    def _recall(self, record: Record) -> Record | None:
        match record:
            case Campaign():
                return next((c for c in self.campaigns() if c.campaign_id == record.campaign_id), None)
            case Trial():
                self.trials(record.campaign_id)
                return self._trials[record.campaign_id].get(record.trial_id)
            case Measurement():
                self.measurements(record.trial_id)
                return self._measurements[record.trial_id].get(record.measurement_id)
            case Call():
                return self._calls_of(record.trial_id).get(record.call_id)
            case Verdict():
                return self._verdicts_of(record.trial_id).get((record.attempt, record.position))
            case Lesson():
                self.lessons(record.campaign_id)
                return self._lessons[record.campaign_id].get(record.trial_id)
            case _:
                raise TypeError(f"{type(record).__name__} is not remembered")

    def remember(self, record: Record) -> None:
        """Take note of a row that was just written."""
        match record:
            case Campaign():
                self._remember_campaign(record)
            case Trial():
                self._remember_trial(record)
            case Measurement():
                self._remember_measurement(record)
            case Call() | Verdict():
                self._remember_in_hand(record)
            case Lesson():
                self._remember_lesson(record)
            case Curve():
                self._curve = record
            case LineageBlock() | Event():
                self._remember_numbered(record)
            case _:
                pass

    def forget(self) -> None:
        """Know nothing any more: the next question goes to the tables."""
        self._campaigns, self._trials, self._measurements, self._lessons = {}, {}, {}, {}
        self._peaks, self._replicates, self._pairs, self._tried, self._counts = {}, {}, {}, {}, {}
        self._blocks, self._block, self._curve, self._keys = None, None, None, {}
        self._in_hand, self._calls, self._verdicts = "", None, None

    def _remember_campaign(self, campaign: Campaign) -> None:
        before = self._campaigns.get(campaign.campaign_id)
        if before is None or before.hardware_fingerprint != campaign.hardware_fingerprint:
            self._forget_spreads(campaign.campaign_id)  # they speak of that machine
        if self._campaigns:  # when empty it is filled from the table, this row included
            self._campaigns[campaign.campaign_id] = campaign

    def _remember_trial(self, trial: Trial) -> None:
        known = self._trials.get(trial.campaign_id)
        if known is None:
            self._forget_spreads(trial.campaign_id)
            self._tried.pop(trial.campaign_id, None)
            return
        before = known.get(trial.trial_id)
        if before is None and known and next(reversed(known.values())).seq >= trial.seq:
            del self._trials[trial.campaign_id]  # out of order: to be read again
            self._forget_spreads(trial.campaign_id)
            self._tried.pop(trial.campaign_id, None)
            return
        known[trial.trial_id] = trial
        if before is None:  # just opened: nothing hangs off it yet
            self._in_hand, self._calls, self._verdicts = trial.trial_id, {}, {}
            self._measurements[trial.trial_id] = {}
        self._remember_outcome(before, trial, newest=next(reversed(known)) == trial.trial_id)
        told = before is None or (before.status, before.program_key) != (trial.status, trial.program_key)
        if told:
            for spreads in self._spreads_of(trial.campaign_id):
                spreads.take(trial)

    def _spreads_of(self, campaign_id: str) -> list[Replicates | PairSpreads]:
        """What follows from this campaign's measurements, as far as anybody has asked."""
        found = (*(self._replicates.get((campaign_id, log)) for log in (False, True)), self._pairs.get(campaign_id))
        return [spreads for spreads in found if spreads is not None]

    def _forget_spreads(self, campaign_id: str) -> None:
        for log in (False, True):
            self._replicates.pop((campaign_id, log), None)
        self._pairs.pop(campaign_id, None)

    def _remember_outcome(self, before: Trial | None, trial: Trial, *, newest: bool) -> None:
        """The first trial of a program is the one that counts: the newest changes nothing that was told before."""
        tried = self._tried.get(trial.campaign_id)
        if tried is None or not is_tried(trial):
            return
        if not newest or (before is not None and is_tried(before)):
            del self._tried[trial.campaign_id]  # to be read again
        else:
            add_tried(tried, trial)

    def _remember_in_hand(self, record: Call | Verdict) -> None:
        if record.trial_id != self._in_hand:
            return
        if isinstance(record, Call) and self._calls is not None:
            self._calls[record.call_id] = record
        if isinstance(record, Verdict) and self._verdicts is not None:
            self._verdicts[record.attempt, record.position] = record

    def _remember_numbered(self, record: LineageBlock | Event) -> None:
        name = (LINEAGE_BLOCKS if isinstance(record, LineageBlock) else EVENTS).name
        if name in self._counts:
            self._counts[name] += 1
        if isinstance(record, LineageBlock):
            self._block = record
            if self._blocks is not None:
                self._blocks.add(record.sha256)

    def _remember_measurement(self, measurement: Measurement) -> None:
        campaign_id, trial_id = measurement.campaign_id, measurement.trial_id
        if trial_id in self._measurements:
            self._measurements[trial_id][measurement.measurement_id] = measurement
        if campaign_id in self._peaks:
            peaks = list(filter(None, map(_peak_bytes, self.measurements(trial_id))))
            self._peaks[campaign_id].pop(trial_id, None)
            if peaks:
                self._peaks[campaign_id][trial_id] = max(peaks)
        for spreads in self._spreads_of(campaign_id):
            spreads.measured(trial_id)

    def _remember_lesson(self, lesson: Lesson) -> None:
        known = self._lessons.get(lesson.campaign_id)
        if known is None:
            return
        in_order = not known or self.trial(next(reversed(known))).seq < self.trial(lesson.trial_id).seq
        if in_order:
            known[lesson.trial_id] = lesson
        else:
            del self._lessons[lesson.campaign_id]  # to be read again

    def _calls_of(self, trial_id: str) -> dict[str, Call]:
        self._take_in_hand(trial_id)
        if self._calls is None:
            self._calls = {call.call_id: call for call in super().calls(trial_id)}
        return self._calls

    def _verdicts_of(self, trial_id: str) -> dict[tuple[int, int], Verdict]:
        self._take_in_hand(trial_id)
        if self._verdicts is None:
            self._verdicts = {(v.attempt, v.position): v for v in super().verdicts(trial_id)}
        return self._verdicts

    def _take_in_hand(self, trial_id: str) -> None:
        if self._in_hand != trial_id:
            self._in_hand, self._calls, self._verdicts = trial_id, None, None


def _peak_bytes(measurement: Measurement) -> int | None:
    used = measurement.peak_device_bytes
    return measurement.peak_rss_bytes if used is None else used
