"""Nights in this process: an observer that collects and acts, a proposer with a script, a kill, and the record."""

import json
from collections.abc import Callable
from pathlib import Path

from agents.base import NoReplyError, NoReplyKind, ProposalContext, Reply, local_call
from graph.watching.events import Observer, TrainingProgress
from graph.watching.resume_point import ResumePoint
from memory.reader import Reader
from memory.records import Campaign, CampaignState, Event, EventKind, Measurement, Trial


class Listener(Observer):
    """Collects what it is told, and does something at the first word of it."""

    def __init__(self, at: str = "", then: Callable[[], None] = lambda: None) -> None:
        self.notes: list[str] = []
        self.states: list[tuple[CampaignState, str | None]] = []
        self.resume_points: list[ResumePoint | None] = []
        self.at, self.then = at, then

    def _heard(self, what: str) -> None:
        if what == self.at:
            self.at = ""
            self.then()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        self.states.append((state, reason))
        self._heard(str(state))

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        self.resume_points.append(resume_point)

    def trial_opened(self, trial: Trial) -> None:
        self._heard(f"opened {trial.seq}")

    def training(self, progress: TrainingProgress) -> None:
        self._heard(f"training {progress.trial_seq}")

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        self._heard(f"measured {trial.seq}")

    def decided(self, trial: Trial) -> None:
        self._heard(f"decided {trial.seq}")

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        self._heard(f"result {target.seq} {seed_index}")


class Endpoint:
    """A proposer that says what it is told, or raises it."""

    name = "scripted"
    repairs_crashes = False

    def __init__(self, *script: str | Exception) -> None:
        self.script = list(script)
        self.asked: list[int] = []

    def check_ready(self) -> None:
        raise NoReplyError("nobody listens", kind=NoReplyKind.PASSING)

    def propose(self, context: ProposalContext) -> Reply:
        self.asked.append(context.trial_seq)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return Reply(raw=said, calls=(local_call(said, 0.0),))


class Killed(BaseException):
    """What a kill is to everything that could handle an error."""


def kill() -> None:
    raise Killed


def rows(n: int) -> str:
    return json.dumps({"knob": "rows", "new_value": n, "reason": "because"})


def record(root: Path) -> tuple[Campaign, list[Trial], list[Event]]:
    """What is published."""
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        campaign = reader.latest_campaign()
        assert campaign is not None
        return campaign, reader.trials(campaign.campaign_id), reader.events(campaign.campaign_id)


def kinds(events: list[Event]) -> list[EventKind]:
    return [event.kind for event in events]
