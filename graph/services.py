"""What the nodes work with: one object per running campaign, made by `graph/campaign.py`, shared by the five nodes."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from agents.base import Proposer
from graph.events import Observer
from graph.meters import Meter, Meters
from graph.spending import Spending
from graph.stopping import StopRequest
from graph.weather import Weather
from graph.workspace import Workspace
from memory.decide import KeepRule
from memory.known_curves import KnownCurves
from memory.lineage import Lineage
from memory.ratchet import Ratchet
from memory.records import Campaign, CampaignState, Event, EventKind, Lesson, Span, Trial, TrialKind, utc_now
from memory.results_tsv import ResultsTable
from memory.snapshot import Publisher
from memory.store import Store
from rails.edits import program_key
from rails.guard import Rails
from rails.task import LimitsConfig, Task
from tools.trainer_tool import Progress, TrainedModel, TrainerTool

if TYPE_CHECKING:
    from agents.curator import Curator  # loads langchain, which only a model needs


@dataclass(kw_only=True)
class Services:
    """The store, the ratchet, the proposer, the trainer tool and the rules of one campaign."""

    campaign_id: str
    workspace: Workspace
    task: Task
    store: Store
    ratchet: Ratchet
    rails: Rails
    rule: KeepRule
    proposer: Proposer
    trainer: TrainerTool
    observer: Observer
    limits: LimitsConfig
    live: dict[str, TrainedModel] = field(default_factory=dict[str, TrainedModel])
    """Trained models waiting to be scored, by measurement id: the one thing that cannot live in the store."""
    spans: list[Span] = field(default_factory=list[Span])
    trial_started: float = field(default_factory=time.monotonic)
    stop: StopRequest = field(default_factory=StopRequest)
    """Asked by the first signal: the trial in hand ends as `interrupted`."""
    fallback: Proposer | None = None
    """Asked while the campaign's own proposer does not answer; None: nobody."""
    curator: "Curator | None" = None
    """Writes the line that is remembered of a trial; None: the rule does."""
    deadline: float | None = None
    """When the limit of hours is reached, by `time.monotonic`; None: never. No wait may go beyond it."""
    meter: Meter | None = None
    """What the machine's energy is read from; None where there is none."""
    weather: Weather = field(default_factory=Weather)
    """What is done while an endpoint does not answer."""
    resumed: bool = False
    """Whether the campaign was begun by another loop, which ended or was killed."""

    @property
    def campaign(self) -> Campaign:
        """The campaign's row as it is now."""
        return self.store.campaign(self.campaign_id)

    @cached_property
    def meters(self) -> Meters:
        """Running time and energy of the campaign; they count from when they are first asked for."""
        return Meters(self.campaign, self.meter)

    @cached_property
    def spending(self) -> Spending:
        """What the campaign has spent, for whoever watches."""
        return Spending(self.store, self.campaign_id, self.meters, self.observer)

    @cached_property
    def known_curves(self) -> KnownCurves:
        """What the store's training curves say; it remembers what it has read."""

        def share(step: int, tokens: int, elapsed_s: float) -> float:
            return self.trainer.fraction(Progress(step=step, tokens=tokens, elapsed_s=elapsed_s, loss=0.0))

        return KnownCurves(self.store, share)

    @cached_property
    def lineage(self) -> Lineage:
        """What the next proposer may read; it counts on from trial to trial."""
        return Lineage(self.store, self.campaign_id)

    @cached_property
    def results(self) -> ResultsTable:
        """Renders results.tsv; it remembers the lines of rows that stay."""
        return ResultsTable()

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self.store, self.workspace.snapshot_dir)

    def publish(self) -> None:
        """Let readers see the store's present state.

        Raises:
            HaltError: the disk is full or the snapshot cannot be written. The store itself is not touched.
        """
        self._publisher.publish()

    def trial(self, trial_id: str) -> Trial:
        """A trial's row as it is now."""
        return self.store.trial(trial_id)

    def source_of(self, trial: Trial) -> str:
        """The program that a trial runs, from the git object that holds it."""
        if trial.kind is TrialKind.BASELINE:
            return self.ratchet.source(self.campaign.baseline_commit)
        if trial.candidate_commit is None:
            raise ValueError(f"trial {trial.seq} has no candidate commit yet")
        return self.ratchet.source(trial.candidate_commit)

    def waited(self, trial_id: str, node: str, part: str, seconds: float) -> None:
        """Note seconds that a node spent waiting for somebody else (proposer, process start, training, scoring)."""
        self.spans.append(Span(trial_id=trial_id, node=node, part=part, seconds=seconds))

    def baseline_program_key(self) -> str:
        """The key of the program that the search starts from, so that going back to it counts as a repeat."""
        return program_key(self.ratchet.source(self.campaign.baseline_commit))

    def decide(self, trial: Trial, head: str | None, incumbent: str | None, lesson: Lesson | None) -> None:
        """The commit point of a trial, as `Store.decide`; with what it and the campaign have used up, all in one.

        Raises:
            HaltError: the record cannot be written, or the trial was decided otherwise before.
        """
        final, spending = trial.model_copy(update=self.meters.trial_energy), self.spending
        with self.store.transaction():
            self.store.decide(final, head, incumbent, lesson)
            self.store.update_campaign(self.campaign_id, active_s=self.meters.active_s, joules=self.meters.joules)
        spending.end(final)

    def record(self, kind: EventKind, text: str, trial_seq: int | None = None) -> None:
        """Put on record what happened to the loop itself."""
        event = Event(campaign_id=self.campaign_id, trial_seq=trial_seq, kind=kind, text=text, created_at=utc_now())
        self.store.add_event(event)

    def tell(self, kind: EventKind, text: str, trial_seq: int | None = None) -> None:
        """Put on record what happened to the loop itself, and tell whoever is watching."""
        self.record(kind, text, trial_seq)
        self.observer.note(text)

    def set_state(self, state: CampaignState, reason: str | None = None) -> None:
        """Put on record what the loop does now, publish it, and show it to whoever is watching."""
        self.flush_spans()
        self.store.update_campaign(self.campaign_id, state=state, state_reason=reason)
        self.publish()
        self.observer.state_changed(state, reason)

    def add_spans(self, spans: list[Span]) -> None:
        """Collect the seconds of a node visit; written at the end of the trial."""
        self.spans.extend(spans)

    def flush_spans(self) -> None:
        """Write the collected seconds in one transaction."""
        if self.spans:
            self.store.add_spans(self.spans)
            self.spans = []

    def close_live(self) -> None:
        """Kill every process that is still waiting to be scored."""
        for model in self.live.values():
            model.close()
        self.live.clear()
