"""Campaigns: one unattended search in a workspace, and what happened to its loop."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from memory.records.base import Record


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
    """The proposer's name as given: a name from models.toml, or tpe, random, cma, gp, replay, scripted."""
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
    overrides: dict[str, Any] | None = None
    """What an arm of a study set otherwise than its workspace: run options and dotted keys of task.toml; None: nothing.
    `task` has it in it."""


class EventKind(StrEnum):
    """What kind of thing happened to the loop itself."""

    RESUMED = "resumed"
    """The loop went on with an unfinished campaign: after a crash, a signal, or a reboot."""
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    ENDPOINT_LOST = "endpoint_lost"
    ENDPOINT_BACK = "endpoint_back"
    ENDPOINT_ODD = "endpoint_odd"
    """It answers, but not as models.toml says: a smaller context, a prompt that it cut in silence."""
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
