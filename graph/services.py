"""What the five nodes work with: one object per running campaign, made by `graph/campaign/open.py`."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agents.base import Proposer
from graph.costs import CostFiles
from graph.limits.meters import Meter, Meters
from graph.limits.patience import Outage, Patience
from graph.limits.pause import LOOK_EVERY_S, duration, pause_asked
from graph.limits.spending import Spending
from graph.limits.stopping import StopRequest
from graph.trial_in_hand import TrialInHand
from graph.watching.events import Observer
from graph.workspace import Workspace
from memory.exports.results_tsv import ResultsTable
from memory.git.ratchet import Ratchet
from memory.keep.comparable import measured_on
from memory.keep.curves import KnownCurves
from memory.keep.rules import KeepRule, make_rule
from memory.lineage.block import Lineage
from memory.publish import Publisher
from memory.records import (
    Campaign,
    CampaignState,
    Event,
    EventKind,
    Lesson,
    Measurement,
    Span,
    Trial,
    TrialKind,
    utc_now,
)
from memory.store import Store
from rails.guard import Rails
from rails.source.program import Program, parse_program
from rails.task import LimitsConfig, Task
from tools.backend import Backend, Progress

if TYPE_CHECKING:
    from agents.lesson_writer import Curator  # loads langchain, which only a model needs
    from graph.watching.spans import Tracing  # loads OpenTelemetry's SDK, which only who asks for it needs


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
    trainer: Backend[Any]
    observer: Observer
    limits: LimitsConfig
    hands: dict[str, TrialInHand] = field(default_factory=dict[str, TrialInHand])
    """What is being worked on now, by trial id."""
    spans: list[Span] = field(default_factory=list[Span])
    """Seconds that are not in the store yet."""
    tracing: "Tracing | None" = None
    """Sends them to where traces are looked at; None: nobody asked for it."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Asked by the first signal: the trial in hand ends as `interrupted`."""
    fallback: Proposer | None = None
    """Asked while the campaign's own proposer does not answer; None: nobody."""
    stand_in: Proposer | None = None
    """Proposes for a model all of whose corrections were refused; None: such a trial is blocked."""
    curator: "Curator | None" = None
    """Writes the line that is remembered of a trial; None: the rule does."""
    deadline: float | None = None
    """When the limit of hours is reached, by `time.monotonic`; None: never. No wait may go beyond it."""
    meter: Meter | None = None
    """What the machine's energy is read from; None where there is none."""
    patience: Patience = field(default_factory=Patience)
    """How an endpoint that does not answer is borne."""
    outage: Outage | None = None
    """While the campaign's own proposer does not answer."""
    resumed: bool = False
    """Whether the campaign was begun by another loop, which ended or was killed."""
    publishes_at_end: bool = False
    """Whether readers see the campaign only when its loop has ended: for many short ones that nobody watches."""

    @property
    def campaign(self) -> Campaign:
        """The campaign's row as it is now."""
        return self.store.campaign(self.campaign_id)

    @cached_property
    def meters(self) -> Meters:
        """Running time and energy of the campaign; they count from when they are first asked for."""
        return Meters(self.campaign, self.meter, self.trainer.clock_s)

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
    def costs(self) -> CostFiles:
        """What programs' answers cost by token."""
        return CostFiles(self.workspace.costs_dir, self.campaign_id)

    @cached_property
    def lineage(self) -> Lineage:
        """What the next proposer may read; it counts on from trial to trial."""
        return Lineage(self.store, self.campaign_id)

    @cached_property
    def results(self) -> ResultsTable:
        """Renders results.tsv; it remembers the lines of rows that stay."""
        return ResultsTable(self.task.metric.name)

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self.store, self.workspace.snapshot_dir)

    def publish(self) -> None:
        """Let readers see the store's present state.

        Raises:
            HaltError: the disk is full or the snapshot cannot be written. The store itself is not touched.
        """
        if self.publishes_at_end and self.campaign.state is not CampaignState.ENDED:
            return
        self._publisher.publish()

    def trial(self, trial_id: str) -> Trial:
        """A trial's row as it is now."""
        return self.store.trial(trial_id)

    def measured(self, trial_id: str) -> list[Measurement]:
        """A trial's evidence: scores that were made to decide, on the machine that the campaign runs on now."""
        return measured_on(self.store.measurements(trial_id), self.campaign.hardware_fingerprint)

    def source_of(self, trial: Trial) -> str:
        """The program that a trial runs, from the git object that holds it."""
        if trial.kind is TrialKind.BASELINE:
            return self.ratchet.source(self.campaign.baseline_commit)
        if trial.candidate_commit is None:
            raise ValueError(f"trial {trial.seq} has no candidate commit yet")
        return self.ratchet.source(trial.candidate_commit)

    @cached_property
    def baseline_seeds(self) -> int:
        """Measurements of the starting point: as many as the task wants, and as there can be."""
        most = self.trainer.seeds(self.ratchet.source(self.campaign.baseline_commit))
        return self.task.baseline.seeds if most is None else min(most, self.task.baseline.seeds)

    def rule_for(self, trial: Trial) -> KeepRule:
        """The keep rule, asking for no more measurements than there can be of a trial's program and its parent's."""
        programs = [trial] if trial.parent_trial_id is None else [trial, self.trial(trial.parent_trial_id)]
        seeds = [self.trainer.seeds(self.source_of(program)) for program in programs]
        known = [most for most in seeds if most is not None]
        return make_rule(self.task.keep, most=min(known)) if known else self.rule

    @contextmanager
    def in_hand(self, trial: Trial, resumed: Trial | None = None, apart: str | None = None) -> Generator[TrialInHand]:
        """Work on a trial while the block runs; afterwards no process of it is left.

        Args:
            trial: the trial.
            resumed: the same as another loop left it; None: it begins here.
            apart: for a decided trial that is measured once more: the name under which its seconds are stored.
        """
        hand = TrialInHand(trial.trial_id, self.meters.begin_trial(resumed), self.note_seconds, apart)
        self.hands[trial.trial_id] = hand
        try:
            yield hand
        finally:
            del self.hands[trial.trial_id]
            hand.close()
            if apart is None:
                self.drop_ahead()

    def drop_ahead(self) -> None:
        """End the trainings that were begun ahead and will not be asked for."""
        if self.trainer.beside is not None:
            self.trainer.beside.drop()

    def wait_while_paused(self) -> None:
        """Wait for as long as somebody wants the loop to, or until it is asked to stop; it counts into no limit."""
        pause = pause_asked(self.workspace)
        if pause is None or self.stop.requested:
            return
        before, started = self.campaign, time.monotonic()
        self.tell(EventKind.PAUSED, f"paused, {pause}; `nightshift resume {self.workspace.root}` goes on")
        self.set_state(CampaignState.PAUSED, str(pause))
        with self.meters.paused():
            while pause_asked(self.workspace) is not None and not self.stop.wait(LOOK_EVERY_S):
                pass
        waited_s = time.monotonic() - started
        if self.deadline is not None:
            self.deadline += waited_s
        if not self.stop.requested:
            self.tell(EventKind.UNPAUSED, f"going on after a pause of {duration(waited_s)}")
            self.set_state(before.state, before.state_reason)

    def baseline_program(self) -> Program:
        """The program that the search starts from; by its keys going back to it counts as a repeat."""
        return parse_program(self.ratchet.source(self.campaign.baseline_commit))

    def decide(self, trial: Trial, head: str | None, incumbent: str | None, lesson: Lesson | None) -> None:
        """The commit point of a trial, as `Store.decide`; with what it and the campaign have used up, all in one.

        Raises:
            HaltError: the record cannot be written, or the trial was decided otherwise before.
        """
        final, spending = trial.model_copy(update=self.hands[trial.trial_id].energy.fields), self.spending
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

    def note_seconds(self, span: Span) -> None:
        """Take note of seconds that are over."""
        self.spans.append(span)
        if self.tracing is not None:
            self.tracing.ended(span, self.trial(span.trial_id))

    def flush_spans(self) -> None:
        """Write the collected seconds in one transaction."""
        if self.spans:
            self.store.add_spans(self.spans)
            self.spans.clear()
