"""Whole campaigns of records, made up but coherent: what a night leaves in the store, by seed."""

import hashlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from hypothesis import strategies as st

from memory.records import (
    Call,
    Campaign,
    Curve,
    Lesson,
    LineageBlock,
    Measurement,
    MeasurementState,
    Phase,
    Record,
    Span,
    Trial,
    TrialKind,
    Verdict,
)
from memory.store import Store
from rails.status import FINISHED, Status

RecordT = TypeVar("RecordT", bound=Record)
START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
KNOBS: dict[str, tuple[Any, ...]] = {
    "depth": (2, 3, 4, 6, 8),
    "width": (64, 96, 128, 192, 256),
    "lr": (0.003, 0.01, 0.02, 0.04, 0.1),
    "warmup": (0.0, 0.05, 0.1, 0.2),
    "softcap": (0, 15, 30),
    "mlp_ratio": (2.0, 3.0, 4.0),
    "beta2": (0.9, 0.95, 0.99),
    "window": ("full", "half", "short"),
    "rope_base": (1000, 10000, 100000),
}
FAILURES: dict[Status, str] = {
    Status.CRASH: "RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x{n} and 128x128)",
    Status.PREFLIGHT_CRASH: "SyntaxError: invalid syntax (train.py, line {n})",
    Status.TRAIN_BUDGET_OVERRUN: "trained {n}.1 s on a budget of 20 s",
    Status.EVAL_BUDGET_OVERRUN: "scoring took more than {n} s",
    Status.SIZE_BLOCKED: "size: needs {n} GB, 8 GB are allowed",
    Status.RAIL_BLOCKED: "range: lr must be between 0.0001 and 0.1, got {n}",
    Status.DISQUALIFIED: "a token cost less than zero at position {n}",
    Status.INTERRUPTED: "interrupted by a signal",
    Status.HARNESS_ABORT: "the endpoint refused",
}


@dataclass(repr=False)
class CampaignRecords:
    """One campaign with everything that hangs off it, in the order a loop would write it."""

    campaign: Campaign
    trials: list[Trial] = field(default_factory=list[Trial])
    measurements: list[Measurement] = field(default_factory=list[Measurement])
    curves: list[Curve] = field(default_factory=list[Curve])
    calls: list[Call] = field(default_factory=list[Call])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    blocks: list[LineageBlock] = field(default_factory=list[LineageBlock])
    lessons: list[Lesson] = field(default_factory=list[Lesson])
    spans: list[Span] = field(default_factory=list[Span])

    def __repr__(self) -> str:
        return f"<{len(self.trials)} trials of {self.campaign.tag!r}>"

    def of(self, rows: list[Any], trial: Trial) -> list[Any]:
        """The rows of one trial."""
        return [row for row in rows if row.trial_id == trial.trial_id]


def make_campaign(tag: str = "night", *, minutes: int = 0) -> Campaign:
    """An unfinished campaign without trials."""
    kinds = {name: "str" if name == "window" else "float" for name in KNOBS}
    menu = {name: {"type": kinds[name], "choices": list(v), "default": v[1]} for name, v in KNOBS.items()}
    return Campaign(
        campaign_id=f"c-{tag}",
        tag=tag,
        branch=f"autoresearch/{tag}",
        proposer="tpe",
        lineage=True,
        seed=1,
        keep_rule="threshold",
        task={"name": "gpt", "metric": {"name": "val_bpb", "direction": "minimize"}, "menu": {"knobs": menu}},
        limits={"trials": 12},
        corpus_sha256="ab" * 32,
        hardware={"device": "cpu", "cores": 2},
        hardware_fingerprint="cpu-2",
        isolation="L1",
        versions={"python": "3.11"},
        baseline_commit="0" * 40,
        head_commit="0" * 40,
        created_at=START + timedelta(minutes=minutes),
    )


def make_trial(campaign: Campaign, seq: int, **fields: Any) -> Trial:
    """A trial just opened, with `fields` on top."""
    baseline = seq == 0
    defaults: dict[str, Any] = {
        "trial_id": f"{campaign.campaign_id}-{seq:05d}",
        "campaign_id": campaign.campaign_id,
        "seq": seq,
        "kind": TrialKind.BASELINE if baseline else TrialKind.SEARCH,
        "phase": Phase.OPENED,
        "program_key": hashlib.sha256(b"baseline").hexdigest() if baseline else None,
        "created_at": campaign.created_at + timedelta(seconds=60 * seq),
    }
    return Trial(**{**defaults, **fields})


def make_measurement(trial: Trial, seed_index: int, score: float | None, **fields: Any) -> Measurement:
    """A measurement that is done: with a score, or failed without."""
    started = trial.created_at + timedelta(seconds=20 * seed_index + 1)
    defaults: dict[str, Any] = {
        "measurement_id": f"{trial.trial_id}-s{seed_index}",
        "campaign_id": trial.campaign_id,
        "trial_id": trial.trial_id,
        "seed_index": seed_index,
        "seed": 1000 + seed_index,
        "state": MeasurementState.FAILED if score is None else MeasurementState.MEASURED,
        "isolation": "L1",
        "machine": "cpu-2",
        "score": score,
        "started_at": started,
        "finished_at": started + timedelta(seconds=19),
    }
    return Measurement(**{**defaults, **fields})


def make_records(trials: int, seed: int = 0, *, tag: str = "night", prompt_chars: int = 2_000) -> CampaignRecords:
    """A decided campaign of a baseline and `trials` search trials. The same arguments give the same records."""
    rng = random.Random(f"{seed}-{tag}")
    records = CampaignRecords(make_campaign(tag, minutes=seed))
    state = _Night(rng, records, prompt_chars)
    state.baseline()
    for seq in range(1, trials + 1):
        state.search(seq)
    records.campaign = records.campaign.model_copy(
        update={"incumbent_trial_id": state.best.trial_id, "head_commit": state.best.commit_sha or "0" * 40}
    )
    return records


def write_trial(store: Store, records: CampaignRecords, trial: Trial) -> None:
    """Write one trial the way the loop does: opened, called, checked, measured, decided."""
    opened = {
        "phase": Phase.OPENED,
        "status": None,
        "metric": None,
        "decided_at": None,
        "commit_sha": None,
        "gain": None,
    }
    store.open_trial(trial.model_copy(update=opened))
    for block in records.blocks:
        if block.sha256 == trial.lineage_sha256:
            store.add_lineage_block(block)
    store.add_calls(records.of(records.calls, trial))
    store.add_verdicts(records.of(records.verdicts, trial))
    curves = {curve.measurement_id: curve for curve in records.of(records.curves, trial)}
    for done in records.of(records.measurements, trial):
        running = {
            "state": MeasurementState.RUNNING,
            "score": None,
            "status": None,
            "reason": None,
            "finished_at": None,
        }
        store.open_measurement(done.model_copy(update=running))
        store.finish_measurement(done, curves.get(done.measurement_id))
    lesson = next(iter(records.of(records.lessons, trial)), None)
    best = trial.status in {Status.KEEP, Status.BASELINE}
    store.decide(trial, trial.commit_sha, trial.trial_id if best else None, lesson)
    store.add_spans(records.of(records.spans, trial))


def write_records(store: Store, records: CampaignRecords) -> None:
    """Write a whole campaign."""
    start = {"incumbent_trial_id": None, "head_commit": records.campaign.baseline_commit}
    store.add_campaign(records.campaign.model_copy(update=start))
    for trial in records.trials:
        write_trial(store, records, trial)


class _Night:
    """Plays the part of proposer, trainer and keep rule."""

    def __init__(self, rng: random.Random, records: CampaignRecords, prompt_chars: int) -> None:
        self.rng, self.records, self.prompt_chars = rng, records, prompt_chars
        self.campaign = records.campaign
        self.scale = 1.8
        self.best: Trial

    def baseline(self) -> None:
        trial = make_trial(self.campaign, 0)
        scores = [self._measure(trial, index, self.scale) for index in range(3)]
        self.scale = sum(scores) / len(scores)
        self.best = self._finish(
            trial, Status.BASELINE, metric=self.scale, n_measurements=3, reason="the starting point"
        )

    def search(self, seq: int) -> None:
        rng = self.rng
        knob = rng.choice(list(KNOBS)[:-2])
        value = rng.choice(KNOBS[knob])
        program = f"{self.best.program_key}{knob}={value}"
        block = f"# Lineage before trial {seq}\n" + "x" * self.prompt_chars
        trial = make_trial(
            self.campaign,
            seq,
            parent_trial_id=self.best.trial_id,
            parent_commit=self.best.commit_sha or self.campaign.baseline_commit,
            proposer="tpe",
            hypothesis=f"{knob} at {value} trains faster",
            expected_delta=-0.01,
            rationale="because | it `might`\nhelp",
            edit={"kind": "knob", "knob": knob, "value": value},
            edit_key=f"{knob}={value}",
            program_key=hashlib.sha256(program.encode()).hexdigest(),
            diff=f"--- a/train.py\n+++ b/train.py\n-    {knob} = 0\n+    {knob} = {value}\n",
            candidate_commit=hashlib.sha1(program.encode()).hexdigest(),
            lineage_sha256=hashlib.sha256(block.encode()).hexdigest(),
            propose_s=rng.random(),
        )
        self._propose(trial, block)
        if rng.random() < 0.3:
            status = rng.choice(list(FAILURES))
            self._finish(trial, status, reason=FAILURES[status].format(n=rng.randrange(30, 99)))
            return
        score = self._measure(trial, 0, (self.best.metric or 0) + rng.gauss(0.002, 0.006))
        gain = ((self.best.metric or 0) - score) / self.scale
        kept = gain > 0.004
        numbers: dict[str, Any] = {
            "metric": score,
            "gain": gain,
            "gain_low": gain - 0.004,
            "gain_high": gain + 0.004,
            "p_improve": min(1.0, max(0.0, 0.5 + gain * 50)),
            "n_measurements": 1,
            "reason": "better" if kept else "not proven",
            "decision": {"action": "keep" if kept else "discard", "evidence": {"seeds": [0]}},
        }
        if kept:
            numbers["commit_sha"] = hashlib.sha1(trial.trial_id.encode()).hexdigest()
        done = self._finish(trial, Status.KEEP if kept else Status.DISCARD, **numbers)
        self.best = done if kept else self.best

    def _propose(self, trial: Trial, block: str) -> None:
        self.records.blocks.append(
            LineageBlock(
                sha256=trial.lineage_sha256 or "",
                campaign_id=trial.campaign_id,
                text=block,
                created_at=trial.created_at,
            )
        )
        self.records.calls.append(
            Call(
                call_id=f"{trial.trial_id}-a0-0",
                trial_id=trial.trial_id,
                attempt=0,
                position=0,
                proposer="planner",
                model="m-8b",
                prompt=[{"role": "user", "content": block}],
                raw_reply='{"knob": "lr"}',
                prompt_tokens=900,
                completion_tokens=40,
                latency_s=trial.propose_s,
                created_at=trial.created_at,
            )
        )
        for position, rail in enumerate(("schema", "menu", "range", "cross", "diff", "novelty", "size")):
            self.records.verdicts.append(
                Verdict(trial_id=trial.trial_id, attempt=0, position=position, rail=rail, ok=True)
            )

    def _measure(self, trial: Trial, seed_index: int, centre: float) -> float:
        score = centre + self.rng.gauss(0, 0.003)
        done = make_measurement(trial, seed_index, score, train_s=20.0, score_s=1.5, steps=300, flops=1.25e12)
        points = 60
        self.records.measurements.append(done)
        self.records.curves.append(
            Curve(
                measurement_id=done.measurement_id,
                trial_id=trial.trial_id,
                step=list(range(points)),
                tokens=[2048 * step for step in range(points)],
                elapsed_s=[step / 3 for step in range(points)],
                loss=[7.0 - 0.1 * step + self.rng.random() for step in range(points)],
            )
        )
        return score

    def _finish(self, trial: Trial, status: Status, **fields: Any) -> Trial:
        train_s = 20.0 if status in FINISHED else 7.0
        update = {"phase": Phase.DECIDED, "status": status, "train_s": train_s, "total_s": train_s + 2.0, **fields}
        update["decided_at"] = trial.created_at + timedelta(seconds=55)
        done = Trial.model_validate({**trial.model_dump(), **update})
        self.records.trials.append(done)
        if status in {Status.KEEP, Status.CRASH}:
            self.records.lessons.append(
                Lesson(
                    trial_id=done.trial_id,
                    campaign_id=done.campaign_id,
                    text=f"{done.edit_key} ended as {status}",
                    source="rule",
                    created_at=done.decided_at or START,
                )
            )
        for node in ("propose", "check_rails", "train", "evaluate", "curate"):
            self.records.spans.append(Span(trial_id=done.trial_id, node=node, part="self", seconds=self.rng.random()))
        return done


def campaigns_of_records(max_trials: int = 40) -> st.SearchStrategy[CampaignRecords]:
    """A hypothesis strategy of whole campaigns."""
    return st.builds(
        make_records,
        st.integers(0, max_trials),
        st.integers(0, 10_000),
        tag=st.sampled_from(["night", "o'clock", "größe"]),
        prompt_chars=st.just(50),
    )


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_JSON_OBJECTS = st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zones itself
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.timezones(),
    ).filter(lambda moment: moment.astimezone(UTC) == moment),  # false for times that a clock shows twice, or never
}


def _values_of(annotation: Any) -> st.SearchStrategy[Any]:
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if NoneType in get_args(annotation):
        return st.none() | _values_of(parts[0])
    if get_origin(annotation) is dict:
        return st.dictionaries(st.text(max_size=5), st.text(max_size=5)) if parts[1] is str else _JSON_OBJECTS
    if get_origin(annotation) is list:
        return st.lists(_values_of(parts[0]), max_size=4)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    return _SCALARS[annotation]


def records_of(record: type[RecordT]) -> st.SearchStrategy[RecordT]:
    """A hypothesis strategy of valid records of one class: any text, any number, any zone."""

    def valid(fields: dict[str, Any]) -> RecordT:
        if record is Trial and fields["status"] is not None:
            finished = fields["status"] in FINISHED
            fields = {
                **fields,
                "metric": (fields["metric"] or 0.0) if finished else None,
                "reason": fields["reason"] or "r",
            }
        return record(**fields)

    values = {name: _values_of(field.annotation) for name, field in record.model_fields.items()}
    return st.fixed_dictionaries(values).map(valid)
