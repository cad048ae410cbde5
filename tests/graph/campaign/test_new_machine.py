"""Going on on another machine: what is compared there is measured there, and the record says so."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agents.scripted import ScriptedProposer
from cli.show.status import status_document
from graph.campaign.options import RunOptions
from graph.measuring.evidence import evidence_for
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.keep.evidence import Evidence
from memory.reader import Reader
from memory.records import Campaign, EventKind, Measurement, MeasurementState, Purpose, Trial
from memory.store import Store
from rails.errors import HaltError, TrialError, UserError
from rails.status import Status
from rails.task import GptTask
from tests.support.variants import first, firsts
from tests.support.workspaces import make_quick_workspace, make_standin_workspace, standin_campaign
from tools.backend import Score
from tools.gpt import TrainedModel
from trainer.hardware import Hardware, describe

BETTER = json.dumps({"knob": "rows", "new_value": 32, "reason": "more"})
WORSE = json.dumps({"knob": "bigram_weight", "new_value": 0.0, "reason": "less"})
HARMLESS = json.dumps({"knob": "smoothing", "new_value": 4.1, "reason": "why not"})
SLOWER = 0.25
"""How many more bits per byte everything costs on the machine `away`."""


class DiedError(BaseException):
    """The loop is killed."""


@dataclass
class Watching(Observer):
    """Notes what is measured, and may end the loop there or after a trial."""

    services: Services | None = None
    stop_after: int | None = None
    """A trial after which a signal comes."""
    die_at: int | None = None
    """The loop dies after so many measurements."""
    order: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(trial, seed) of each measurement, in order."""
    notes: list[str] = field(default_factory=list[str])
    evidence: dict[int, Evidence] = field(default_factory=dict[int, Evidence])

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        self.order.append((int(measurement.trial_id[-5:]), measurement.seed_index))
        if len(self.order) == self.die_at:
            raise DiedError

    def decided(self, trial: Trial) -> None:
        assert self.services is not None
        if trial.seq:
            self.evidence[trial.seq] = evidence_for(self.services, trial)
        if trial.seq == self.stop_after:
            self.services.stop.ask()

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """Which machine the next run is on: `home` unless another name is put here; it is told apart by its driver."""
    name = ["home"]

    def described(task: GptTask) -> Hardware:
        here = describe(task.trial.device)
        return here if name[0] == "home" else replace(here, driver=name[0])

    monkeypatch.setattr("graph.campaign.circumstances.describe_hardware", described)
    yield name


@contextmanager
def opened(root: Path, script: list[str], watching: Watching, trials: int, machine: str) -> Generator[Services]:
    options = RunOptions(trials=trials, tag="night")
    proposer = ScriptedProposer(script)
    with standin_campaign(root, proposer=proposer, observer=watching, options=options) as services:
        watching.services = services
        if machine != "home":
            score = services.trainer.score

            def slower(model: TrainedModel) -> Score:
                found = score(model)
                return replace(found, value=found.value + SLOWER)

            services.trainer.score = slower  # type: ignore[method-assign]
        yield services


@dataclass
class Night:
    """A campaign that is carried from one machine to the other."""

    root: Path
    away: list[str]

    def run(self, script: list[str], trials: int, machine: str = "home", watching: Watching | None = None) -> Watching:
        """One run on one machine; what was seen of it."""
        self.away[0] = machine
        seen = watching or Watching()
        with opened(self.root, script, seen, trials, machine) as services:
            Runner(services).run()
        return seen

    @property
    def record(self) -> tuple[Campaign, list[Trial], list[list[Measurement]]]:
        with Store.open(self.root / ".nightshift" / "store.duckdb") as store:
            campaign = store.campaigns()[-1]
            trials = store.trials(campaign.campaign_id)
            return campaign, trials, [store.measurements(trial.trial_id) for trial in trials]

    def events(self, kind: EventKind) -> list[str]:
        with Store.open(self.root / ".nightshift" / "store.duckdb") as store:
            return [e.text for e in store.events(store.campaigns()[-1].campaign_id) if e.kind is kind]


@pytest.mark.system
@pytest.mark.parametrize(("rule", "most"), firsts(1, [("sequential", 7), ("strict", 1)]))
def test_baseline_and_incumbent_are_measured_again_before_the_next_trial(
    rule: str, most: int, tmp_path: Path, away: list[str]
) -> None:
    night = Night(make_standin_workspace(tmp_path, rule=rule, max_measurements=most), away)
    night.run([BETTER], 2, watching=Watching(stop_after=1))
    before, (baseline_home, kept_home, *_), _ = night.record
    assert kept_home.status is Status.KEEP

    seen = night.run([WORSE], 2, "away")
    assert seen.order[:4] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [trial for trial, _ in seen.order[4:]][:1] == [2]
    after, (baseline, kept, worse), measurements = night.record
    assert after.hardware_fingerprint != before.hardware_fingerprint
    assert (before.hardware["driver"], after.hardware["driver"]) == (None, "away")
    assert night.events(EventKind.MACHINE_CHANGED) == [
        "the machine changed: driver away instead of None; the baseline is measured again"
    ]
    machines = [{m.machine for m in of_trial} for of_trial in measurements]
    both = {before.hardware_fingerprint, after.hardware_fingerprint}
    assert machines == [both, both, {after.hardware_fingerprint}]
    every = [m.measurement_id for of_trial in measurements for m in of_trial]
    assert len(set(every)) == len(every)

    # Rules, noise and metrics take what was measured here, and nothing else.
    evidence = seen.evidence[2]
    assert len(evidence.baseline) == 3
    assert len(evidence.incumbent) == 1
    assert evidence.noise_df == 2
    assert worse.status is Status.DISCARD
    assert baseline.n_measurements == 3
    assert baseline.metric is not None
    assert baseline.metric > (baseline_home.metric or 0) + SLOWER / 2
    assert kept.n_measurements == 1
    assert kept.metric is not None
    assert kept.metric > (kept_home.metric or 0) + SLOWER / 2

    with Reader.open(night.root / ".nightshift" / "snapshot") as reader:
        document = status_document(reader, after)
    assert document["hardware"]["driver"] == "away"
    assert document["noise"]["df"] == 2
    assert document["baseline"]["val_bpb"] == pytest.approx(baseline.metric)


@pytest.mark.slow
def test_back_on_the_first_machine_what_was_measured_there_counts_again(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    night.run([BETTER], 3, watching=Watching(stop_after=1))
    home, at_home, measured_at_home = night.record
    night.run([WORSE], 3, "away", Watching(stop_after=2))
    seen = night.run([HARMLESS], 3)
    assert seen.order == [(3, 0)]
    campaign, trials, measurements = night.record
    assert campaign.hardware_fingerprint == home.hardware_fingerprint
    assert night.events(EventKind.MACHINE_CHANGED)[1] == (
        "the machine changed: driver None instead of away; what was measured on it before counts again"
    )
    for trial, before in zip(trials[:2], at_home[:2], strict=True):
        assert (trial.metric, trial.n_measurements) == (before.metric, before.n_measurements)
    assert len(seen.evidence[3].baseline) == 3
    assert len(measurements[0]) == 2 * len(measured_at_home[0])


@pytest.mark.parametrize("die_at", first(1, [3, 1, 2, 4]))
@pytest.mark.system
def test_a_kill_while_it_is_measured_again_goes_on_there(die_at: int, tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    night.run([BETTER], 2, watching=Watching(stop_after=1))
    with pytest.raises(DiedError):
        night.run([], 2, "away", Watching(die_at=die_at))
    seen = night.run([WORSE], 2, "away")
    assert seen.order == [*[(0, 0), (0, 1), (0, 2), (1, 0)][die_at:], (2, 0)]
    campaign, (baseline, kept, worse), measurements = night.record
    assert len(night.events(EventKind.MACHINE_CHANGED)) == 1
    assert (baseline.n_measurements, kept.n_measurements, worse.n_measurements) == (3, 1, 1)
    here = [m for of_trial in measurements for m in of_trial if m.machine == campaign.hardware_fingerprint]
    assert [m.state for m in here] == [MeasurementState.MEASURED] * 5
    assert {m.attempt for m in here} == {1}


@pytest.mark.slow
def test_a_signal_while_it_is_measured_again_leaves_the_trial_in_hand_alone(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    with pytest.raises(DiedError):
        night.run([BETTER], 1, watching=Watching(die_at=4))  # right after the candidate's measurement

    class Stopping(Watching):
        def measured(self, trial: Trial, measurement: Measurement) -> None:
            assert self.services is not None
            self.services.stop.ask()
            self.services.trainer.stop()

    night.run([], 1, "away", Stopping())
    campaign, (_, candidate), _ = night.record
    assert campaign.stop_reason == "interrupted by a signal"
    assert candidate.status is None
    seen = night.run([], 1, "away")
    assert seen.order == [(0, 1), (0, 2), (1, 0)]


@pytest.mark.system
def test_what_the_trial_in_hand_measured_elsewhere_is_no_evidence(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    with pytest.raises(DiedError):
        night.run([BETTER], 1, watching=Watching(die_at=4))
    seen = night.run([], 1, "away")
    assert seen.order == [(0, 0), (0, 1), (0, 2), (1, 0)]
    campaign, (_, candidate), measurements = night.record
    home, here = sorted(measurements[1], key=lambda m: m.machine == campaign.hardware_fingerprint)
    assert (home.seed, home.measurement_id == here.measurement_id) == (here.seed, False)
    assert candidate.status is Status.KEEP
    assert candidate.metric == here.score
    assert seen.evidence[1].candidate == ((0, here.score),)


@pytest.mark.system
def test_a_baseline_in_hand_is_measured_where_the_loop_is(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    with pytest.raises(DiedError):
        night.run([], 1, watching=Watching(die_at=2))
    seen = night.run([WORSE], 1, "away")
    assert seen.order == [(0, 0), (0, 1), (0, 2), (1, 0)]
    _, (baseline, _), measurements = night.record
    assert baseline.n_measurements == 3
    assert len(measurements[0]) == 5


@pytest.mark.slow
def test_a_result_is_of_one_machine(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, final_seeds=1, baseline_seeds=3), away)
    with pytest.raises(DiedError):
        night.run([BETTER], 1, watching=Watching(die_at=5))  # after the first measurement of the result
    seen = night.run([], 1, "away")
    assert seen.order == [(0, 1000), (1, 1000)]
    campaign, _, measurements = night.record
    assert campaign.final is not None
    assert (campaign.final["state"], campaign.final["n"]) == ("done", 1)
    here = [
        m
        for of_trial in measurements
        for m in of_trial
        if m.purpose is Purpose.FINAL and m.machine == campaign.hardware_fingerprint
    ]
    assert [campaign.final["val"]["baseline"], campaign.final["val"]["incumbent"]] == [m.score for m in here]


@pytest.mark.system
def test_what_cannot_be_measured_there_halts_and_can_go_on_where_it_was(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    night.run([BETTER], 2, watching=Watching(stop_after=1))
    away[0] = "away"
    with opened(night.root, [], Watching(), 2, "away") as services:

        def fails(*_: object) -> TrainedModel:
            raise TrialError(Status.CRASH, "out of memory")

        services.trainer.train = fails  # type: ignore[method-assign]
        with pytest.raises(HaltError, match=r"the baseline could not be measured again .* \(crash\): out of memory"):
            Runner(services).run()
    campaign, trials, _ = night.record
    assert campaign.stop_reason is None
    assert len(trials) == 2
    assert night.run([WORSE], 2).order == [(2, 0)]


@pytest.mark.system
def test_an_incumbent_that_is_found_out_there_is_none_any_more(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path), away)
    night.run([BETTER], 2, watching=Watching(stop_after=1))
    away[0] = "away"
    seen = Watching()
    with opened(night.root, [WORSE], seen, 2, "away") as services:
        train = services.trainer.train

        def caught(program: str, *arguments: Any) -> TrainedModel:
            if "rows: int = 32" in program:
                raise TrialError(Status.DISQUALIFIED, "it looks at the next token")
            return train(program, *arguments)

        services.trainer.train = caught  # type: ignore[method-assign]
        Runner(services).run()
    campaign, trials, _ = night.record
    assert [t.status for t in trials] == [Status.BASELINE, Status.DISQUALIFIED, Status.DISCARD]
    assert seen.order == [(0, 0), (1, 0), (2, 0)]
    assert campaign.incumbent_trial_id == trials[2].parent_trial_id == trials[0].trial_id
    assert campaign.head_commit == campaign.baseline_commit


@pytest.mark.slow
def test_there_it_is_tried_again_by_the_next_run(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_quick_workspace(tmp_path, baseline_seeds=3), away)
    night.run([BETTER], 2, watching=Watching(stop_after=1))
    away[0] = "away"
    with opened(night.root, [], Watching(), 2, "away") as services:
        train = services.trainer.train
        services.trainer.train = lambda *_: (_ for _ in ()).throw(TrialError(Status.CRASH, "bad luck"))  # type: ignore[method-assign]
        with pytest.raises(HaltError):
            Runner(services).run()
        services.trainer.train = train  # type: ignore[method-assign]
    seen = night.run([WORSE], 2, "away")
    assert seen.order == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]


@pytest.mark.slow
def test_another_text_is_refused_and_changes_nothing(tmp_path: Path, away: list[str]) -> None:
    night = Night(make_standin_workspace(tmp_path), away)
    night.run([], 2, watching=Watching(stop_after=0))
    before = night.record
    for path in (tmp_path / "corpus").rglob("*"):
        if path.is_file():
            path.write_text(path.read_text() + "\nsomething else entirely\n")
    with pytest.raises(UserError, match="was measured on another text") as caught:
        night.run([WORSE], 2, "away")
    assert "--fresh" in caught.value.fix
    assert night.record == before
