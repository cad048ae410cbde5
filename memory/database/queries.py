"""Reading: what the live store and the snapshot reader have in common."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

import duckdb

from memory.database.rows import (
    CALLS,
    CAMPAIGNS,
    CURVES,
    EVENTS,
    LESSONS,
    LINEAGE_BLOCKS,
    MEASUREMENTS,
    SPANS,
    TRIALS,
    VERDICTS,
    Row,
    Table,
)
from memory.keep.comparable import measures_as
from memory.records import (
    Call,
    CallRole,
    Campaign,
    Curve,
    Event,
    Lesson,
    LineageBlock,
    Measurement,
    Record,
    Span,
    Trial,
    Verdict,
    stopped_at,
)
from memory.statistics.noise import Noise, pool
from rails.status import FINISHED, Status
from rails.text import measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalls:
    """The requests of a campaign to models, proposals and lessons together."""

    requests: int
    """To a model; asking a built-in proposer is none."""
    priced: int
    """Those whose price is known."""
    usd: float | None
    """Sum of the known prices; None when none is."""
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCalls:
    """The requests to models that were made for one trial in one role."""

    trial_id: str
    role: CallRole
    requests: int
    usd: float | None
    """Sum of the known prices; None when none is."""
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float


R = TypeVar("R", bound=Record)

NOT_TRIED = frozenset({Status.INTERRUPTED, Status.HARNESS_ABORT, Status.RAIL_BLOCKED})
"""Statuses of a program that never ran to a verdict: proposing it again is no repeat."""

CONNECT_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # rows are few, and the cores belong to the training
    "autoinstall_known_extensions": False,  # nothing here may open a connection
    "autoload_known_extensions": False,
}


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the documented views (memory/database/views.sql) for this connection, and let it speak UTC."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(views_sql())


def views_sql() -> str:
    """What makes the documented views."""
    return files("memory.database").joinpath("views.sql").read_text(encoding="utf-8")


CALL_SUMS: dict[str, frozenset[str]] = {
    "calls": frozenset({"trial_id", "role", "model", "usd", "prompt_tokens", "completion_tokens", "latency_s"}),
}
"""Columns of calls that `Queries.calls_by_trial` reads: without the prompts, which are most of a store."""

OUTCOMES: dict[str, frozenset[str]] = {
    "trials": frozenset(
        {"trial_id", "campaign_id", "seq", "phase", "status", "metric"}
        | {"edit", "program_key", "gain", "gain_low", "total_s", "decision"}
    ),
    "measurements": frozenset({"measurement_id", "campaign_id", "trial_id", "state", "seed", "score", "started_at"}),
}
"""Tables and columns that `Queries.outcomes` reads."""


class Queries:
    """Read methods over one DuckDB connection. Safe to call from several threads; they take turns."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._noise_of_ended: dict[str, Noise] = {}

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._lock:
            return self._connection.execute(sql, list(values)).fetchall()

    def _records(self, table: Table[R], where: str, values: Sequence[Any], order: str) -> list[R]:
        sql = f"SELECT {table.column_list} FROM raw.{table.name} WHERE {where} ORDER BY {order}"
        return [table.to_record(row) for row in self._fetch(sql, values)]

    def _one(self, table: Table[R], where: str, values: Sequence[Any]) -> R | None:
        found = self._records(table, where, values, table.key[0])
        return found[0] if found else None

    def campaign(self, campaign_id: str) -> Campaign:
        """The campaign with this id.

        Raises:
            KeyError: there is none.
        """
        return _found(self._one(CAMPAIGNS, "campaign_id = ?", [campaign_id]), "campaign", campaign_id)

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        return self._records(CAMPAIGNS, "true", [], "created_at, campaign_id")

    def latest_campaign(self) -> Campaign | None:
        """The campaign that was started last, or None."""
        found = self.campaigns()
        return found[-1] if found else None

    def trial(self, trial_id: str) -> Trial:
        """The trial with this id.

        Raises:
            KeyError: there is none.
        """
        return _found(self._one(TRIALS, "trial_id = ?", [trial_id]), "trial", trial_id)

    def trials(self, campaign_id: str) -> list[Trial]:
        """All trials of a campaign, the one in hand included, by number."""
        return self._records(TRIALS, "campaign_id = ?", [campaign_id], "seq")

    def trial_by_seq(self, campaign_id: str, seq: int) -> Trial | None:
        """The trial with this number, or None."""
        return self._one(TRIALS, "campaign_id = ? AND seq = ?", [campaign_id, seq])

    def calls(self, trial_id: str) -> list[Call]:
        """The requests to the proposer, in the order they were made."""
        return self._records(CALLS, "trial_id = ?", [trial_id], "attempt, position, call_id")

    def verdicts(self, trial_id: str) -> list[Verdict]:
        """What the rails said, in the order they were asked."""
        return self._records(VERDICTS, "trial_id = ?", [trial_id], "attempt, position")

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial, by seed index."""
        return self._records(MEASUREMENTS, "trial_id = ?", [trial_id], "seed_index, started_at, measurement_id")

    def campaign_measurements(self, campaign_id: str) -> list[Measurement]:
        """The measurements of a campaign, by start."""
        return self._records(MEASUREMENTS, "campaign_id = ?", [campaign_id], "started_at, measurement_id")

    def curve(self, measurement_id: str) -> Curve | None:
        """The training curve of a measurement, or None when none was stored."""
        return self._one(CURVES, "measurement_id = ?", [measurement_id])

    def lineage_block(self, sha256: str) -> LineageBlock | None:
        """The block with this hash, or None."""
        return self._one(LINEAGE_BLOCKS, "sha256 = ?", [sha256])

    def lineage_blocks(self, campaign_id: str) -> list[LineageBlock]:
        """The blocks that a campaign's proposals saw, in the order of writing."""
        return self._records(LINEAGE_BLOCKS, "campaign_id = ?", [campaign_id], "ordinal")

    def rows_of_trials(self, table: Table[R], campaign_id: str) -> list[R]:
        """All rows of a table whose rows belong to a trial, for one campaign: by trial, then as they were written."""
        columns = ", ".join(f"r.{column}" for column in table.columns)
        joined = f"raw.{table.name} r JOIN raw.trials t USING (trial_id)"
        sql = f"SELECT {columns} FROM {joined} WHERE t.campaign_id = ? ORDER BY t.seq, r.rowid"
        return [table.to_record(row) for row in self._fetch(sql, [campaign_id])]

    def outcomes(self, campaign_id: str) -> tuple[list[Row], list[Row]]:
        """What an analysis needs of a campaign, ten times faster than as records.

        Returns:
            Decided trials by number as (trial_id, seq, status, metric, edit as JSON, program_key, gain, gain_low,
            total_s, kind of decision), and measurements with a score as (trial_id, seed, score) by their start.
        """
        trials = (
            "SELECT trial_id, seq, status, metric, edit, program_key, gain, gain_low, total_s, "
            "decision->>'$.kind' FROM raw.trials "
            "WHERE campaign_id = ? AND phase = 'decided' ORDER BY seq"
        )
        measured = (
            "SELECT trial_id, seed, score FROM raw.measurements WHERE campaign_id = ? AND state = 'measured' "
            "AND score IS NOT NULL ORDER BY started_at, measurement_id"
        )
        return self._fetch(trials, [campaign_id]), self._fetch(measured, [campaign_id])

    def lessons(self, campaign_id: str) -> list[Lesson]:
        """The lessons of a campaign, oldest trial first."""
        columns = ", ".join(f"l.{column}" for column in LESSONS.columns)
        joined = "raw.lessons l JOIN raw.trials t USING (trial_id)"
        sql = f"SELECT {columns} FROM {joined} WHERE l.campaign_id = ? ORDER BY t.seq"
        return [LESSONS.to_record(row) for row in self._fetch(sql, [campaign_id])]

    def events(self, campaign_id: str) -> list[Event]:
        """What happened to the loop in this campaign, in the order of writing."""
        return self._records(EVENTS, "campaign_id = ?", [campaign_id], "ordinal")

    def spans(self, trial_id: str) -> list[Span]:
        """Where the seconds of a trial went, in the order of writing."""
        return self._records(SPANS, "trial_id = ?", [trial_id], "rowid")

    def seconds_by_part(self, campaign_id: str) -> dict[tuple[str, str], float]:
        """Where the seconds of a campaign went: (node, part) of its spans to their sum."""
        joined = "raw.spans s JOIN raw.trials t USING (trial_id)"
        sql = f"SELECT node, part, sum(seconds) FROM {joined} WHERE t.campaign_id = ? GROUP BY node, part"
        return {(str(node), str(part)): float(total) for node, part, total in self._fetch(sql, [campaign_id])}

    def model_calls(self, campaign_id: str) -> ModelCalls:
        """The requests of a campaign to models; what was asked of a built-in proposer is none of them."""
        sums = "count(*), count(k.usd), sum(k.usd), sum(k.prompt_tokens), sum(k.completion_tokens)"
        joined = "raw.calls k JOIN raw.trials t USING (trial_id)"
        sql = f"SELECT {sums} FROM {joined} WHERE t.campaign_id = ? AND k.model IS NOT NULL"
        requests, priced, usd, prompt, completion = self._fetch(sql, [campaign_id])[0]
        return ModelCalls(
            requests=int(requests),
            priced=int(priced),
            usd=None if usd is None else float(usd),
            prompt_tokens=None if prompt is None else int(prompt),
            completion_tokens=None if completion is None else int(completion),
        )

    def calls_by_trial(self, campaign_id: str) -> list[TrialCalls]:
        """The same for each trial and role, by number of the trial."""
        sums = "count(*), sum(k.usd), sum(k.prompt_tokens), sum(k.completion_tokens), sum(k.latency_s)"
        joined = "raw.calls k JOIN raw.trials t USING (trial_id)"
        where = "t.campaign_id = ? AND k.model IS NOT NULL GROUP BY t.seq, k.trial_id, k.role ORDER BY t.seq, k.role"
        sql = f"SELECT k.trial_id, k.role, {sums} FROM {joined} WHERE {where}"
        return [
            TrialCalls(
                trial_id=str(trial_id),
                role=CallRole(role),
                requests=int(requests),
                usd=None if usd is None else float(usd),
                prompt_tokens=None if prompt is None else int(prompt),
                completion_tokens=None if completion is None else int(completion),
                seconds=float(seconds),
            )
            for trial_id, role, requests, usd, prompt, completion, seconds in self._fetch(sql, [campaign_id])
        ]

    def noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement, pooled over the campaign's replicates of identical programs."""
        found = self._fetch("SELECT sd, df FROM noise WHERE campaign_id = ?", [campaign_id])
        return Noise(sd=found[0][0], df=found[0][1]) if found else Noise(sd=None, df=0)

    def store_noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement, pooled over all campaigns that measure as this one does. What keep rules use.

        Those are the campaigns with the same machine, corpus, budget, evaluation window and metric. A campaign that
        moved counts with what was measured on the machine that it runs on now, or ran on last.
        """
        campaigns = self.campaigns()
        wanted = measures_as(self.campaign(campaign_id))
        others = [c for c in campaigns if c.campaign_id != campaign_id and measures_as(c) == wanted]
        return pool([self.noise(campaign_id), *(self._noise_of_another(c) for c in others)])

    def _noise_of_another(self, campaign: Campaign) -> Noise:
        """Its noise; once it has ended its measurements stay as they are, and the answer is remembered."""
        if campaign.stop_reason is None:
            return self.noise(campaign.campaign_id)
        if campaign.campaign_id not in self._noise_of_ended:
            self._noise_of_ended[campaign.campaign_id] = self.noise(campaign.campaign_id)
        return self._noise_of_ended[campaign.campaign_id]

    def test_looks(self, corpus_sha256: str) -> int:
        """How often a program was scored on the held-back test text of this corpus, over all campaigns of the store.

        What was disqualified there has no score on record, but has been looked at.
        """
        sql = (
            "SELECT count(*) FROM raw.measurements m JOIN raw.campaigns c USING (campaign_id) "
            "WHERE c.corpus_sha256 = ? AND m.purpose = 'final' "
            "AND (m.test_score IS NOT NULL OR m.status = 'disqualified')"
        )
        return int(self._fetch(sql, [corpus_sha256])[0][0])

    def peak_bytes(self, campaign_id: str) -> dict[str, int]:
        """Trial id to the most memory that its measurements took: of the accelerator where there is one."""
        sql = (
            "SELECT trial_id, max(coalesce(peak_device_bytes, peak_rss_bytes)) FROM raw.measurements "
            "WHERE campaign_id = ? AND coalesce(peak_device_bytes, peak_rss_bytes) IS NOT NULL GROUP BY trial_id"
        )
        return {str(trial_id): int(peak) for trial_id, peak in self._fetch(sql, [campaign_id])}

    def tried_programs(self, campaign_id: str) -> dict[str, str]:
        """Program key and idea key to what became of it (`trial 7: discard, 1.7512`): the first trial that has the key.

        Trials that never ran the program to a verdict (blocked, interrupted, still running) are not in it.
        """
        tried: dict[str, str] = {}
        for trial in self.trials(campaign_id):
            if is_tried(trial):
                add_tried(tried, trial)
        return tried


def add_tried(tried: dict[str, str], trial: Trial) -> None:
    """Take note of a tried program under both of its keys, unless an earlier trial has them."""
    for key in (trial.program_key, trial.idea_key):
        if key is not None:
            tried.setdefault(key, outcome_of(trial))


def is_tried(trial: Trial) -> bool:
    """Whether its program ran to a verdict: proposing it again would be a repeat."""
    return trial.status is not None and trial.status not in NOT_TRIED


def outcome_of(trial: Trial) -> str:
    """What became of a tried program, in a few words."""
    shown = measured(trial.metric) if trial.status in FINISHED and trial.metric is not None else stopped_at(trial)
    return f"trial {trial.seq}: {trial.status}" + (f", {shown}" if shown else "")


def _found(record: R | None, what: str, key: str) -> R:
    if record is None:
        raise KeyError(f"no {what} {key!r} in the store")
    return record
