"""Where exactly a campaign goes on, read from the store: which trial, attempt and measurement come next."""

from dataclasses import dataclass
from enum import StrEnum

from graph.evidence import measured
from graph.finale import FIRST_SEED, unfinished_finale
from graph.services import Services
from memory.records import Measurement, MeasurementState, Phase, Purpose, Trial, TrialKind
from rails.status import Status


class Step(StrEnum):
    """What is done first when a campaign goes on."""

    OPEN = "open"
    """The trial is not in the store yet."""
    PROPOSE = "propose"
    CHECK = "check"
    """The reply is stored and was not judged."""
    TRAIN = "train"
    DECIDE = "decide"
    RESULT = "result"
    """The search is over; its result is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a campaign goes on."""

    step: Step
    trial_seq: int
    """The trial in hand, or the next one. While the result is measured: the incumbent's."""
    attempt: int = 0
    """Which proposal of the trial, counting from 0; as in `Trial.attempt`."""
    target_seq: int | None = None
    """Whose program is trained first; None when that is still to be decided."""
    seed_index: int | None = None
    stored: int = 0
    """Measurements that are stored and are not made again."""
    planned: int | None = None
    """How many it will be; None when that depends on what they say."""

    @property
    def sentence(self) -> str:
        """The same for people."""
        if self.step is Step.RESULT:
            return f"going on with the result: seed {self.seed_index}, {self._stored}"
        if self.step is Step.OPEN:
            return f"going on with trial {self.trial_seq}" + ("" if self.trial_seq else ", the baseline")
        what = {
            Step.PROPOSE: "proposing",
            Step.CHECK: "checking the reply that is stored",
            Step.DECIDE: f"deciding, {self._stored}",
            Step.TRAIN: f"training {self._whom}with seed {self.seed_index}, {self._stored}",
        }[self.step]
        return f"going on at trial {self.trial_seq}, attempt {self.attempt + 1}: {what}"

    @property
    def _whom(self) -> str:
        return "" if self.target_seq == self.trial_seq else f"the program of trial {self.target_seq} "

    @property
    def _stored(self) -> str:
        of_all = "" if self.planned is None else f" of {self.planned}"
        return f"{self.stored}{of_all} measured"


def find_standing(services: Services) -> Standing:
    """Where the services' campaign goes on."""
    trials = services.store.trials(services.campaign_id)
    if unfinished_finale(services) is not None:
        return _in_finale(services, trials)
    trial = next((t for t in trials if t.phase is not Phase.DECIDED), None)
    if trial is None:
        return Standing(step=Step.OPEN, trial_seq=len(trials))
    if trial.kind is TrialKind.BASELINE:
        return _in_baseline(services, trial)
    return _in_search(services, trial)


def _in_baseline(services: Services, trial: Trial) -> Standing:
    done, planned = measured(services, trial.trial_id), services.task.baseline.seeds
    if len(done) >= planned:
        return Standing(step=Step.DECIDE, trial_seq=trial.seq, stored=len(done), planned=planned)
    return Standing(
        step=Step.TRAIN,
        trial_seq=trial.seq,
        target_seq=trial.seq,
        seed_index=len(done),
        stored=len(done),
        planned=planned,
    )


def _in_search(services: Services, trial: Trial) -> Standing:
    if trial.phase is Phase.OPENED:
        return Standing(step=Step.PROPOSE, trial_seq=trial.seq)
    if trial.phase is Phase.PROPOSED:
        return _after_reply(services, trial)
    begun = _under_way(services, trial)
    done = measured(services, trial.trial_id)
    if begun is not None:
        target, measurement = begun
        return Standing(
            step=Step.TRAIN,
            trial_seq=trial.seq,
            attempt=trial.attempt,
            target_seq=target.seq,
            seed_index=measurement.seed_index,
            stored=len(done),
        )
    if trial.phase is Phase.RAILED:
        return Standing(step=Step.TRAIN, trial_seq=trial.seq, attempt=trial.attempt, target_seq=trial.seq, seed_index=0)
    return Standing(step=Step.DECIDE, trial_seq=trial.seq, attempt=trial.attempt, stored=len(done))


def _after_reply(services: Services, trial: Trial) -> Standing:
    """Its last reply is stored; either nobody has judged it yet, or it was refused."""
    verdicts = [v for v in services.store.verdicts(trial.trial_id) if v.attempt == trial.attempt]
    if not verdicts:
        return Standing(step=Step.CHECK, trial_seq=trial.seq, attempt=trial.attempt)
    refused = len({v.attempt for v in services.store.verdicts(trial.trial_id) if not v.ok})
    if refused > services.task.rails.corrections:
        return Standing(step=Step.DECIDE, trial_seq=trial.seq, attempt=trial.attempt)
    return Standing(step=Step.PROPOSE, trial_seq=trial.seq, attempt=trial.attempt + 1)


def _under_way(services: Services, trial: Trial) -> tuple[Trial, Measurement] | None:
    """The measurement that was begun and has no end: of the candidate, or of the incumbent on its behalf."""
    for target_id in (trial.trial_id, trial.parent_trial_id):
        for measurement in services.store.measurements(target_id) if target_id else ():
            if measurement.state is MeasurementState.RUNNING and measurement.purpose is Purpose.SEARCH:
                return services.trial(measurement.trial_id), measurement
    return None


def _in_finale(services: Services, trials: list[Trial]) -> Standing:
    """Every fresh seed is measured twice, on incumbent and baseline, before the next one is."""
    campaign = services.campaign
    incumbent = next(t for t in trials if t.trial_id == campaign.incumbent_trial_id)
    ids = {trials[0].trial_id, incumbent.trial_id}
    final = [m for trial_id in ids for m in services.store.measurements(trial_id) if m.purpose is Purpose.FINAL]
    over = {MeasurementState.MEASURED, MeasurementState.FAILED}
    here = [m for m in final if m.machine == campaign.hardware_fingerprint and m.state in over]
    stored = sum(m.status is not Status.INTERRUPTED for m in here)
    return Standing(
        step=Step.RESULT,
        trial_seq=incumbent.seq,
        seed_index=FIRST_SEED + stored // 2,
        stored=stored,
        planned=2 * services.task.final.seeds,
    )
