"""The outer loop: one `invoke` per trial, pauses, limits, and a clean stop."""

import ctypes
import gc
import time
from contextlib import suppress

from agents.base import NoReplyError, NoReplyKind
from graph.build import NodeFunction, build_graph
from graph.campaign.disqualified import return_to_honest
from graph.campaign.new_machine import measure_again
from graph.campaign.result import INTERRUPTED, measure_result, unfinished_result
from graph.campaign.resume import find_resume_point
from graph.limits.disk import require_room
from graph.limits.pause import end_pause
from graph.limits.reached import limit_reached
from graph.nodes.check_rails import check_rails
from graph.nodes.curate import curate, end_trial
from graph.nodes.evaluate import evaluate
from graph.nodes.propose import propose
from graph.nodes.train import train
from graph.projection import project
from graph.services import Services
from graph.state import Node, TrialState, Update, initial_state
from graph.watching.resume_point import ResumePoint
from memory.records import Campaign, CampaignState, EventKind, Phase, Span, Trial, TrialKind, utc_now
from memory.store import Store
from rails.errors import DiskFullError, HaltError, NightshiftError, TrialError
from rails.status import Status

RECURSION_LIMIT = 100
"""Node visits a trial may take: corrections, repairs and replicates are all bounded well below this."""

SETTLE_EVERY = 64
"""So many trials from one settling in to the next: few enough that what is new never takes long to look through."""

NODE_FUNCTIONS = {
    Node.PROPOSE: propose,
    Node.CHECK_RAILS: check_rails,
    Node.TRAIN: train,
    Node.EVALUATE: evaluate,
    Node.CURATE: curate,
}


class Runner:
    """Runs one campaign to its end.

    Args:
        services: everything the nodes work with.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._run_here = 0
        nodes = {node: self._bind(node) for node in Node}
        self._graph = build_graph(nodes, services.note_seconds)

    def _bind(self, node: Node) -> NodeFunction:
        function, services = NODE_FUNCTIONS[node], self._services

        def bound(state: TrialState) -> Update:
            return function(services, state)

        return bound

    def run(self) -> Campaign:
        """Go on from wherever the store says this campaign is, until a limit or a signal stops it.

        At a limit the result is measured again on fresh seeds, as the last thing.

        Raises:
            DiskFullError: nothing was marked; the campaign goes on from here once there is room, like after a kill.
            NightshiftError: the loop could not go on; the campaign stays unfinished and can be resumed.
        """
        services = self._services
        self._begin()
        try:
            reason = self._work()
            services.flush_spans()
        except DiskFullError:
            raise
        except NightshiftError as error:
            self._give_up(error)
            raise
        return self._end(reason)

    def _begin(self) -> None:
        """Start the clocks, finish what the last decision left undone, and tell where the campaign is."""
        services = self._services
        if services.limits.hours and not services.trainer.deterministic:
            services.deadline = time.monotonic() + 3600 * services.limits.hours - services.meters.active_s
        resume_point = self._take_up() if services.resumed else None
        services.publish()  # readers see the campaign from its first second
        services.observer.campaign_started(services.campaign, resume_point)
        services.spending.tell()

    def _take_up(self) -> ResumePoint:
        services = self._services
        decided = [t for t in services.store.trials(services.campaign_id) if t.phase is Phase.DECIDED]
        if decided:
            project(services, decided[-1])  # the loop may have been killed right after its commit point
        resume_point = find_resume_point(services)
        services.record(EventKind.RESUMED, resume_point.sentence, resume_point.trial_seq)
        return resume_point

    def _work(self) -> str:
        """Search, then measure the result; why it is over."""
        services = self._services
        services.wait_while_paused()
        if services.stop.requested:
            return INTERRUPTED
        reason = unfinished_result(services) or measure_again(services) or self._search()
        return INTERRUPTED if services.stop.requested else measure_result(services, reason)

    def _search(self) -> str:
        """One trial after the other, the unfinished one first; why there is no other."""
        services = self._services
        trials = services.store.trials(services.campaign_id)
        trial = next((t for t in trials if t.phase is not Phase.DECIDED), None)
        while True:
            if trial is None:
                services.wait_while_paused()
                return_to_honest(services)
                if reason := self.stop_reason():
                    return reason
            started = time.monotonic()
            require_room(services.workspace)
            begun = trial
            trial = trial or self._open_trial()
            try:
                self._run_trial(trial, begun)
            except NoReplyError as error:
                if error.kind is not NoReplyKind.USED_UP:
                    raise
                return str(error)
            seconds = time.monotonic() - started
            services.note_seconds(Span(trial_id=trial.trial_id, node="trial", part="total", seconds=seconds))
            trial = None
            if self._run_here % SETTLE_EVERY == 0:
                _settle_in(services.store)
            self._run_here += 1

    def _run_trial(self, trial: Trial, begun: Trial | None) -> None:
        """Run a trial to its decision; `begun` is the same when another loop has begun it."""
        services = self._services
        with services.in_hand(trial, begun):
            services.observer.trial_opened(trial)
            services.spending.begin(trial)
            try:
                self._graph.invoke(initial_state(trial), {"recursion_limit": RECURSION_LIMIT})
            except TrialError as error:
                if error.status is not Status.INTERRUPTED:
                    raise
                self._interrupted(trial, error.what)
            except (DiskFullError, NoReplyError):
                raise  # the trial stays as it is, and goes on from there
            except NightshiftError as error:
                self._abort(trial, error)
                raise
        self._require_baseline(services.trial(trial.trial_id))

    def _interrupted(self, trial: Trial, reason: str) -> None:
        """A search trial ends here; the baseline stays open, and is measured when the campaign goes on."""
        services = self._services
        if trial.kind is TrialKind.SEARCH:
            end_trial(services, services.trial(trial.trial_id), Status.INTERRUPTED, reason)
        if services.deadline is None or time.monotonic() < services.deadline:
            services.stop.ask()

    def _require_baseline(self, trial: Trial) -> None:
        """Without a baseline there is nothing to compare with: end the campaign.

        Raises:
            HaltError: the baseline's trial ended in a failure.
        """
        if trial.kind is not TrialKind.BASELINE or trial.status in {None, Status.BASELINE}:
            return
        services = self._services
        what = f"the baseline could not be measured ({trial.status}): {trial.reason}"
        self._end(what)
        where = str(services.workspace.root / services.task.edit.file)
        raise HaltError(what, where=where, fix="make it run, commit it, and run again")

    def _abort(self, trial: Trial, error: NightshiftError) -> None:
        """A search trial that the harness could not finish says nothing about its hypothesis."""
        with suppress(NightshiftError):  # what could not go on may not be able to write either; `error` says why
            current = self._services.trial(trial.trial_id)
            if current.kind is not TrialKind.BASELINE and current.phase is not Phase.DECIDED:
                end_trial(self._services, current, Status.HARNESS_ABORT, error.what)

    def _open_trial(self) -> Trial:
        services, campaign = self._services, self._services.campaign
        seq = len(services.store.trials(campaign.campaign_id))
        baseline = seq == 0
        program = services.baseline_program() if baseline else None
        trial = Trial(
            trial_id=f"{campaign.campaign_id}-{seq:05d}",
            campaign_id=campaign.campaign_id,
            seq=seq,
            kind=TrialKind.BASELINE if baseline else TrialKind.SEARCH,
            phase=Phase.OPENED,
            parent_trial_id=None if baseline else campaign.incumbent_trial_id,
            parent_commit=campaign.head_commit,
            proposer=None if baseline else campaign.proposer,
            program_key=program.key if program is not None else None,
            idea_key=program.idea_key if program is not None else None,
            created_at=utc_now(),
        )
        with services.store.transaction(flush=False):  # with the first answer: one wait for the disk less
            services.flush_spans()  # of the trial before
            services.store.open_trial(trial)
        return trial

    def stop_reason(self) -> str | None:
        """Why the campaign should stop before the next trial, or None to go on."""
        services = self._services
        if services.stop.requested:
            return INTERRUPTED
        return limit_reached(services.limits, services.store.trials(services.campaign_id), services.meters.spent)

    def _end(self, reason: str) -> Campaign:
        """Put on record why the campaign ended; a pause that was asked for meanwhile is over with it."""
        services = self._services
        if reason == INTERRUPTED:
            services.record(EventKind.INTERRUPTED, f"{services.stop.signal or 'a request'} stopped the loop")
        else:
            services.record(EventKind.STOPPED, reason)
            end_pause(services.workspace)
        self._close(stop_reason=reason, state_reason=None, ended_at=utc_now())
        services.observer.campaign_stopped(services.campaign)
        return services.campaign

    def _give_up(self, error: NightshiftError) -> None:
        """Put on record that no loop works on the campaign any more, and why, if anything can be put on record."""
        with suppress(NightshiftError):
            if self._services.campaign.stop_reason is not None:
                return
            self._services.record(EventKind.STOPPED, str(error))
            lasting = isinstance(error, NoReplyError)
            self._close(stop_reason=error.what if lasting else None, state_reason=str(error), ended_at=utc_now())

    def _close(self, **fields: object) -> None:
        services = self._services
        used = {"active_s": services.meters.active_s, "joules": services.meters.joules}
        services.store.update_campaign(services.campaign_id, state=CampaignState.ENDED, **used, **fields)
        services.publish()


def _settle_in(store: Store) -> None:
    """Let the garbage collector pass over everything that there is now, and give back to the system what is free.

    After a first trial it is what torch, guardrails and LangGraph leave, a million objects that stay; later on it is
    the night's own records. Looking through all of it again and again took a tenth of a trial's overhead. What DuckDB
    and the C library keep of memory they would never give back by themselves, and the next training may need it.
    """
    store.free_pages()
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
