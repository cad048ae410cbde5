"""The outer loop: one `invoke` per trial, limits, and a clean stop."""

import time

from graph.build import build_graph
from graph.finale import INTERRUPTED, measure_result, unfinished_finale
from graph.nodes.check_rails import check_rails
from graph.nodes.curate import curate
from graph.nodes.evaluate import evaluate
from graph.nodes.propose import propose
from graph.nodes.train import train
from graph.services import Services
from graph.state import Node, TrialState, Update, initial_state
from graph.wrap import NodeFunction
from memory.records import Campaign, Phase, Trial, TrialKind, utc_now
from memory.snapshot import publish
from rails.errors import HaltError, NightshiftError, TrialError
from rails.status import FINISHED, QUARANTINED, Status

RECURSION_LIMIT = 100
"""Node visits a trial may take: corrections, repairs and replicates are all bounded well below this."""

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
        self._started = time.monotonic()
        nodes = {node: self._bind(node) for node in Node}
        self._graph = build_graph(nodes, services.add_spans)

    def _bind(self, node: Node) -> NodeFunction:
        function, services = NODE_FUNCTIONS[node], self._services

        def bound(state: TrialState) -> Update:
            return function(services, state)

        return bound

    def run(self) -> Campaign:
        """Go on from wherever the store says this campaign is, until a limit or a signal stops it.

        At a limit the result is measured again on fresh seeds, as the last thing.

        Raises:
            NightshiftError: the loop could not go on; the campaign stays unfinished and can be resumed.
        """
        services = self._services
        unfinished = self._unfinished_trial()
        publish(services.store, services.workspace.snapshot_dir)  # readers see the campaign from its first second
        services.observer.campaign_started(services.campaign, unfinished.seq if unfinished else None)
        with services.stop.listening(self._on_signal):
            try:
                reason = unfinished_finale(services) or self._loop(unfinished)
                if not services.stop.requested:
                    reason = measure_result(services, reason)
            finally:
                services.close_live()
                services.flush_spans()
        services.store.update_campaign(services.campaign_id, stop_reason=reason, ended_at=utc_now())
        publish(services.store, services.workspace.snapshot_dir)
        services.observer.campaign_stopped(services.campaign)
        return services.campaign

    def _loop(self, unfinished: Trial | None) -> str:
        trial = unfinished
        while True:
            started = time.monotonic()
            if trial is None:
                if reason := self.stop_reason():
                    return reason
                trial = self._open_trial()
            self._run_trial(trial)
            self._services.waited(trial.trial_id, "trial", "total", time.monotonic() - started)
            self._services.flush_spans()
            trial = None

    def _run_trial(self, trial: Trial) -> None:
        services = self._services
        services.trial_started = time.monotonic()
        services.observer.trial_opened(trial)
        try:
            self._graph.invoke(initial_state(trial), {"recursion_limit": RECURSION_LIMIT})
        except TrialError as error:
            if error.status is not Status.INTERRUPTED:
                raise
            services.stop.ask()  # the baseline: it stays open and is measured when the campaign goes on
        except NightshiftError as error:
            self._abort(trial, error)
            raise
        finally:
            services.close_live()
        self._require_baseline(services.trial(trial.trial_id))

    def _require_baseline(self, trial: Trial) -> None:
        """Without a baseline there is nothing to compare with: end the campaign.

        Raises:
            HaltError: the baseline's trial ended in a failure.
        """
        if trial.kind is not TrialKind.BASELINE or trial.status in {None, Status.BASELINE}:
            return
        services = self._services
        what = f"the baseline could not be measured ({trial.status}): {trial.reason}"
        services.store.update_campaign(services.campaign_id, stop_reason=what, ended_at=utc_now())
        publish(services.store, services.workspace.snapshot_dir)
        where = str(services.workspace.root / services.task.edit.file)
        raise HaltError(what, where=where, fix="make it run, commit it, and run again")

    def _abort(self, trial: Trial, error: NightshiftError) -> None:
        """A search trial that the harness could not finish says nothing about its hypothesis."""
        current = self._services.trial(trial.trial_id)
        if current.kind is TrialKind.BASELINE or current.phase is Phase.DECIDED:
            return
        final = current.model_copy(
            update={
                "phase": Phase.DECIDED,
                "status": Status.HARNESS_ABORT,
                "reason": error.what,
                "metric": None,
                "total_s": time.monotonic() - self._services.trial_started,
                "decided_at": utc_now(),
            }
        )
        self._services.store.decide(final, None, None, None)
        publish(self._services.store, self._services.workspace.snapshot_dir)

    def _unfinished_trial(self) -> Trial | None:
        trials = self._services.store.trials(self._services.campaign_id)
        return next((t for t in trials if t.phase is not Phase.DECIDED), None)

    def _open_trial(self) -> Trial:
        services, campaign = self._services, self._services.campaign
        trials = services.store.trials(campaign.campaign_id)
        seq = len(trials)
        baseline = seq == 0
        trial = Trial(
            trial_id=f"{campaign.campaign_id}-{seq:05d}",
            campaign_id=campaign.campaign_id,
            seq=seq,
            kind=TrialKind.BASELINE if baseline else TrialKind.SEARCH,
            phase=Phase.OPENED,
            parent_trial_id=None if baseline else campaign.incumbent_trial_id,
            parent_commit=campaign.head_commit,
            proposer=None if baseline else campaign.proposer,
            program_key=services.baseline_program_key() if baseline else None,
            created_at=utc_now(),
        )
        services.store.open_trial(trial)
        return trial

    def stop_reason(self) -> str | None:
        """Why the campaign should stop before the next trial, or None to go on."""
        services = self._services
        if services.stop.requested:
            return INTERRUPTED
        trials = [t for t in services.store.trials(services.campaign_id) if t.kind is TrialKind.SEARCH]
        limits = services.limits
        counted = [t for t in trials if t.status not in QUARANTINED]
        if limits.trials and len(counted) >= limits.trials:
            return f"limit of {limits.trials} trials reached"
        if limits.hours and time.monotonic() - self._started >= 3600 * limits.hours:
            return f"limit of {limits.hours:g} hours reached"
        streak = 0
        for trial in reversed(trials):
            if trial.status in FINISHED:
                break
            streak += 1
        if limits.failures_in_a_row and streak >= limits.failures_in_a_row:
            return f"{streak} trials in a row failed, the last with {trials[-1].status}: {trials[-1].reason}"
        return None

    def _on_signal(self, name: str) -> None:
        """End the trial in hand as `interrupted`."""
        self._services.observer.note(f"{name}: ending the trial in hand; once more stops at once")
        self._services.trainer.stop()
