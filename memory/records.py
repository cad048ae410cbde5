"""The rows of the store, as frozen, strict records. Times of day are UTC; units are in the names.

One record per table (`curves` keeps its columns as lists, one row a measurement). Records are what every other package
reads and writes: nobody outside `memory` handles SQL rows.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from rails.status import FINISHED, Status


def utc_now() -> datetime:
    """The current time of day, in UTC, to the microsecond (what DuckDB keeps)."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of every stored row: immutable, no unknown fields, no coercion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrialKind(StrEnum):
    """Why a trial exists: to measure the starting point, or to search from the incumbent."""

    BASELINE = "baseline"
    SEARCH = "search"


class Phase(StrEnum):
    """How far a trial has got, in order. `DECIDED` is the commit point of the write-ahead protocol."""

    OPENED = "opened"
    PROPOSED = "proposed"
    RAILED = "railed"
    RUNNING = "running"
    MEASURED = "measured"
    DECIDED = "decided"


INCUMBENT_FAILED = "incumbent_failed"
"""Key of a trial's decision: the seed with which the incumbent failed on its behalf."""


class MeasurementState(StrEnum):
    """How one train-and-score ended, or that it has not."""

    RUNNING = "running"
    MEASURED = "measured"
    STOPPED = "stopped"
    """Training was cut short because its curve was hopeless: no score, and no failure either."""
    FAILED = "failed"


class Purpose(StrEnum):
    """Why a measurement was made."""

    SEARCH = "search"
    """To decide about a trial."""
    FINAL = "final"
    """To report the campaign: incumbent and baseline on common, fresh seeds, scored on the test text as well."""


class CampaignState(StrEnum):
    """What a loop does with a campaign now, or did when it was last heard of."""

    RUNNING = "running"
    PAUSED = "paused"
    """Between two trials, until a person resumes it or the disk has room again."""
    WAITING = "waiting"
    """For an endpoint that does not answer."""
    ENDED = "ended"


class Campaign(Record):
    """One unattended search in a workspace, on branch `autoresearch/<tag>`."""

    campaign_id: str
    tag: str
    branch: str
    proposer: str
    """The proposer's name as given: a name from models.toml, or tpe, random, replay, scripted."""
    lineage: bool
    """Whether proposals are shown the lineage block."""
    seed: int
    keep_rule: str
    task: dict[str, Any]
    """The resolved task.toml, as it was at the start."""
    limits: dict[str, Any]
    corpus_sha256: str
    hardware: dict[str, Any]
    hardware_fingerprint: str
    isolation: str
    versions: dict[str, str]
    baseline_commit: str
    """The commit the search started from."""
    head_commit: str
    """The commit that the branch must point at: the incumbent's, or the baseline's."""
    incumbent_trial_id: str | None = None
    stop_reason: str | None = None
    """None while the campaign is unfinished."""
    created_at: datetime
    ended_at: datetime | None = None
    final: dict[str, Any] | None = None
    """Incumbent against baseline, both measured again at the end; None before that, or when nothing was kept."""
    fallback: str | None = None
    """The proposer that is asked while the campaign's own does not answer; None: nobody."""
    state: CampaignState = CampaignState.RUNNING
    state_reason: str | None = None
    """Why it is paused or waits, in one sentence."""
    active_s: float = 0.0
    """Seconds that loops have worked on it, by the monotonic clock; pauses left out. What the limit of hours counts."""
    joules: float | None = None
    """Energy that the machine took meanwhile; None where it has no meter."""
    source: str | None = None
    """The log that it was imported from; None when this store's own loop ran it."""


class Trial(Record):
    """One proposal and what became of it. The baseline is trial 0 of its campaign."""

    trial_id: str
    campaign_id: str
    seq: int
    """0 for the baseline, then 1, 2, 3, … in the order of proposing."""
    kind: TrialKind
    phase: Phase
    attempt: int = 0
    """Correction round of the proposal: 0, 1 or 2."""
    repairs: int = 0
    """How often a crash was sent back to the proposer."""
    parent_trial_id: str | None = None
    """The incumbent that the edit applies to; None for the baseline."""
    parent_commit: str | None = None
    proposer: str | None = None
    specialist: str | None = None
    domain: str | None = None
    hypothesis: str | None = None
    expected_delta: float | None = None
    """The proposer's own guess of the change in the metric (negative is better for bits per byte)."""
    rationale: str | None = None
    """The proposer's `reason`, cleaned for display."""
    edit: dict[str, Any] | None = None
    """`{"kind": "knob", "knob": …, "value": …}` or `{"kind": "diff", "diff": …}`."""
    edit_key: str | None = None
    """Canonical text of the edit, e.g. `depth=3`; equal edits have equal keys."""
    program_key: str | None = None
    """Hash of the candidate program's meaning (normalised syntax tree): equal programs have equal keys."""
    diff: str | None = None
    """Unified diff of train.py against the parent."""
    candidate_commit: str | None = None
    status: Status | None = None
    """None until decided."""
    reason: str | None = None
    """Why it has that status, in one sentence."""
    metric: float | None = None
    """Mean of the trial's measurements; None unless it ran to its end (a hopeless one is discarded without)."""
    gain: float | None = None
    """Improvement over the parent on shared seeds, relative to the campaign's baseline (0.01 is one per cent of it);
    positive is better. Gains along the chain of keeps add up."""
    gain_low: float | None = None
    gain_high: float | None = None
    p_improve: float | None = None
    n_measurements: int = 0
    decision: dict[str, Any] | None = None
    """The evidence behind the last decision, as the keep rule stated it."""
    commit_sha: str | None = None
    """The commit on the branch, for a kept trial; where the branch was, for one whose keep was undone."""
    lineage_sha256: str | None = None
    """The lineage block that the proposal saw; None when lineage was off."""
    lesson: str | None = None
    propose_s: float = 0.0
    train_s: float = 0.0
    score_s: float = 0.0
    total_s: float = 0.0
    joules: float | None = None
    """Energy that the machine took from opening to decision; None where it has no meter."""
    propose_joules: float | None = None
    """Of those, while the proposer was waited for; likewise the next two. The rest is the loop's own, or idle."""
    train_joules: float | None = None
    score_joules: float | None = None
    usd: float | None = None
    created_at: datetime
    decided_at: datetime | None = None

    @model_validator(mode="after")
    def _metric_only_when_finished(self) -> Self:
        if self.status is None:
            return self
        if self.status in FINISHED and self.metric is None and not self._stopped_early:
            raise ValueError(f"a trial with status {self.status} must have a metric")
        if self.status not in FINISHED and self.metric is not None:
            raise ValueError(f"a trial with status {self.status} must not have a metric")
        if self.status not in FINISHED and not self.reason:
            raise ValueError(f"a trial with status {self.status} must have a reason")
        return self

    @property
    def keep_undone(self) -> bool:
        """Whether it was kept, and was found out when the campaign's result was measured."""
        return self.status is Status.DISQUALIFIED and self.commit_sha is not None

    @property
    def _stopped_early(self) -> bool:
        """Whether its training was cut short as hopeless: a discard that never got a score."""
        return self.status is Status.DISCARD and self.n_measurements == 0 and bool(self.reason)


class Measurement(Record):
    """One train-and-score of a trial's program with one seed."""

    measurement_id: str
    campaign_id: str
    trial_id: str
    seed_index: int
    """Which of the campaign's shared seeds: candidate and incumbent are compared on equal indices."""
    seed: int
    state: MeasurementState
    attempt: int = 1
    """How often it was started; more than 1 after a crash of the loop."""
    isolation: str
    """The level at which its process ran."""
    val_bpb: float | None = None
    total_nats: float | None = None
    total_bytes: int | None = None
    scored_tokens: int | None = None
    status: Status | None = None
    """The failure, when the state is `failed`."""
    reason: str | None = None
    startup_s: float | None = None
    """Process start, imports, building the model: before the budget's clock."""
    train_s: float | None = None
    """By the parent's monotonic clock."""
    score_s: float | None = None
    steps: int | None = None
    tokens: int | None = None
    params: int | None = None
    flops: float | None = None
    mfu: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    summary: dict[str, Any] | None = None
    """What the trial process said of itself. Shown to people, never decided on."""
    log_tail: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    purpose: Purpose = Purpose.SEARCH
    answer_s: float | None = None
    """How long the first answer of the trained model took."""
    test_bpb: float | None = None
    """On the held-back test text; only of a measurement whose purpose is `final`."""
    probes: dict[str, Any] | None = None
    """What the probes of the trained model found: how many cuts, and the largest effect of each kind in nats."""
    machine: str = ""
    """Fingerprint of the hardware it ran on: only scores of one machine are compared."""
    startup_cpu_s: float | None = None
    """CPU seconds of all its processes until the start of the budget's clock."""
    cpu_s: float | None = None
    """CPU seconds of training, of all its processes; None where they could not all be counted."""
    answer_cpu_s: float | None = None
    """CPU seconds from the end of training to the first answer."""
    for_trial_id: str | None = None
    """On behalf of which trial it was made: of an incumbent often a candidate's. None in stores of before: its own."""


class Curve(Record):
    """The training curve of one measurement, as equally long columns."""

    measurement_id: str
    trial_id: str
    step: list[int]
    tokens: list[int]
    elapsed_s: list[float]
    """By the budget's clock: seconds as the process counted them; on a budget of CPU seconds those, by the parent."""
    loss: list[float]


class CallRole(StrEnum):
    """What a model was asked for."""

    PROPOSE = "propose"
    LESSON = "lesson"


class Call(Record):
    """One request to a model and its raw answer, stored before anything is done with it."""

    call_id: str
    trial_id: str
    attempt: int
    position: int
    """Order within the attempt: a planner may call tools before it answers."""
    proposer: str
    model: str | None = None
    prompt: list[dict[str, Any]] | None = None
    """The messages as sent; None for a proposer that reads no text."""
    raw_reply: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float
    usd: float | None = None
    created_at: datetime
    message: dict[str, Any] | None = None
    """The model's whole message in the form of the protocol, so that a conversation cut off by a crash can go on."""
    role: CallRole = CallRole.PROPOSE


class Verdict(Record):
    """What one rail said of one proposal."""

    trial_id: str
    attempt: int
    position: int
    rail: str
    ok: bool
    reason: str | None = None


class LineageBlock(Record):
    """A block as it was shown, by hash, so that every proposal can be replayed with what it saw."""

    sha256: str
    campaign_id: str
    text: str
    created_at: datetime


class Lesson(Record):
    """One line that the curator drew from a trial."""

    trial_id: str
    campaign_id: str
    text: str
    source: str
    """`rule`, or the model that wrote it."""
    created_at: datetime


class EventKind(StrEnum):
    """What kind of thing happened to the loop itself."""

    RESUMED = "resumed"
    """The loop went on with an unfinished campaign: after a crash, a signal, or a reboot."""
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    ENDPOINT_LOST = "endpoint_lost"
    ENDPOINT_BACK = "endpoint_back"
    FALLBACK = "fallback"
    DISK_FULL = "disk_full"
    DISK_FREE = "disk_free"
    MACHINE_CHANGED = "machine_changed"
    KEEP_UNDONE = "keep_undone"
    """What was kept was disqualified when the result was measured: incumbent and branch are what they were before."""
    RESTORED = "restored"
    """The store was damaged, and was rebuilt from what had been published of it."""
    STOPPED = "stopped"


class Event(Record):
    """Something that happened to the loop, not to a hypothesis: what a person asks of the night in the morning."""

    campaign_id: str
    trial_seq: int | None = None
    """The trial in hand; None between trials."""
    kind: EventKind
    text: str
    """One sentence."""
    created_at: datetime


class Span(Record):
    """Where a trial's seconds went: one row per node visit and part."""

    trial_id: str
    node: str
    part: str
    """`self`: the node itself; else what it waited for: `proposer`, `startup`, `train`, `score`, `probe`, `lesson`."""
    seconds: float


def stopped_at(trial: Trial) -> str | None:
    """`hopeless at 40 %` for a trial whose training was cut short, else None."""
    if trial.status is not Status.DISCARD or trial.metric is not None:
        return None
    checkpoint = (trial.decision or {}).get("checkpoint")
    return f"hopeless at {percent(checkpoint, 0)}" if isinstance(checkpoint, float) else "hopeless"


def percent(share: float, digits: int = 1) -> str:
    """A share as people read it: `12.5 %`."""
    return f"{100 * share:.{digits}f} %"
