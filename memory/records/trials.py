"""Trials: one proposal each and what became of it, and what is remembered of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import model_validator

from memory.records.base import Record, percent
from rails.status import FINISHED, Status


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


SIMPLER = "simpler"
"""Value of `kind` in a trial's decision: it is judged as a simplification, which may cost a little."""

KEPT_AS_SIMPLER = "kept_as_simpler"
"""How a trial that was kept as simpler is counted, beside the statuses."""


class Origin(StrEnum):
    """Whose idea a proposal was."""

    SEARCH = "search"
    """A statistical search's."""
    MODEL = "model"
    """A model's, of its own."""
    CHOICE = "choice"
    """A search offered several, and a model chose another than the search's first."""
    CODE = "code"
    """A model's, as a change of the code."""
    FALLBACK = "fallback"
    """That of the proposer that stood in for one whose proposals were all refused, or that did not answer."""


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
    """The planner's specialist that proposed it, as task.toml names it; None: nobody in particular."""
    origin: Origin | None = None
    """Whose idea it was; None in stores of before, and for the baseline."""
    critique: dict[str, Any] | None = None
    """What the critic said: `{"verdict": "pass" | "revise" | "veto", "ground", "reason", "trial", "draft", "revised"}`;
    `draft` is the edit that it was shown, `revised` whether another one was proposed. None where none was asked."""
    domain: str | None = None
    hypothesis: str | None = None
    expected_delta: float | None = None
    """The proposer's own guess of the change in the metric (negative is better where lower is)."""
    rationale: str | None = None
    """The proposer's `reason`, cleaned for display."""
    edit: dict[str, Any] | None = None
    """`{"kind": "knob", "knob": …, "value": …}`, `{"kind": "knobs", "values": {…}}` or `{"kind": "diff", "diff": …}`:
    one knob, several, or the code."""
    edit_key: str | None = None
    """Canonical text of the edit, e.g. `depth=3`; equal edits have equal keys."""
    program_key: str | None = None
    """Hash of the candidate program's meaning (normalised syntax tree): equal programs have equal keys."""
    idea_key: str | None = None
    """Hash of what the candidate program does, whatever it calls things; None in stores of before."""
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
    def edits_code(self) -> bool:
        """Whether it changes more of the program than the value of a knob."""
        return self.edit is not None and self.edit.get("kind") != "knob"

    @property
    def kept_as_simpler(self) -> bool:
        """Whether it was kept for being simpler and hardly worse: no gain, whatever its numbers."""
        return self.status is Status.KEEP and (self.decision or {}).get("kind") == SIMPLER

    @property
    def ended_as(self) -> str | None:
        """The status, by which trials are counted; but what was kept as simpler is no keep among others."""
        return KEPT_AS_SIMPLER if self.kept_as_simpler else self.status

    @property
    def keep_undone(self) -> bool:
        """Whether it was kept, and was found out when the campaign's result was measured."""
        return self.status is Status.DISQUALIFIED and self.commit_sha is not None

    @property
    def _stopped_early(self) -> bool:
        """Whether its training was cut short as hopeless: a discard that never got a score."""
        return self.status is Status.DISCARD and self.n_measurements == 0 and bool(self.reason)


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


class Span(Record):
    """Where a trial's seconds went: one row per node visit and part."""

    trial_id: str
    node: str
    part: str
    """`self`: the node itself; else what it waited for: `proposer`, `startup`, `tryout`, `train`, `score`, `probe`,
    `lesson`."""
    seconds: float


def stopped_at(trial: Trial) -> str | None:
    """`hopeless at 40 %` for a trial whose training was cut short, else None."""
    if trial.status is not Status.DISCARD or trial.metric is not None:
        return None
    checkpoint = (trial.decision or {}).get("checkpoint")
    return f"hopeless at {percent(checkpoint, 0)}" if isinstance(checkpoint, float) else "hopeless"
