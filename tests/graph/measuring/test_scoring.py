"""Probing through the real loop: cheats are disqualified with the reason, and keeps were probed deeply."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.measuring.scoring import probed_deeply, tolerance_nats
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.keep.evidence import Decision, Evidence
from memory.keep.rules import StrictRule
from memory.records import Measurement, MeasurementState, Trial
from rails.errors import HaltError
from rails.status import Status
from rails.task import FinalConfig
from tests.support.cheats import CHEATS, cheating, outside_its_state, proposal
from tests.support.variants import firsts
from tests.support.workspaces import make_quick_workspace, standin_campaign
from tools.gpt import TrainedModel
from trainer.scoring.probes import QUICK_CUTS, Depth
from trainer.scoring.report import CAP_NATS, FLOOR_NATS, ProbeReport

BETTER = json.dumps({"knob": "rows", "new_value": 32, "reason": "x"})
WORSE = json.dumps({"knob": "bigram_weight", "new_value": 0.0, "reason": "x"})
Record = tuple[list[Trial], list[list[Measurement]]]


def without_a_finale(services: Services) -> None:
    """Its measurements are probed like any other; here they would only take time."""
    services.task = services.task.model_copy(update={"final": FinalConfig(seeds=0)})


def run(root: Path, replies: list[str], observer: Observer | None = None) -> Record:
    """The campaign's trials, and the measurements of each."""
    proposer = ScriptedProposer(list(replies))
    options = RunOptions(trials=len(replies))
    with standin_campaign(root, proposer=proposer, observer=observer, options=options) as services:
        without_a_finale(services)
        Runner(services).run()
        trials = services.store.trials(services.campaign_id)
        return trials, [services.store.measurements(trial.trial_id) for trial in trials]


@pytest.fixture(scope="module")
def cheats(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Record]:
    """One campaign in which every proposal cheats, and the last two are honest."""
    root = make_quick_workspace(tmp_path_factory.mktemp("cheats"), baseline_seeds=3)
    names = [*CHEATS, "keeps a part for itself"]
    programs = [*(cheating(name) for name in CHEATS), outside_its_state()]
    return names, run(root, [*(proposal(program, root) for program in programs), BETTER, WORSE])


REASONS = {
    "looks ahead": "it looks ahead: at",
    "looks ahead with a memory": "changed",
    "learns while scored": "it learns while it is scored",
    "uses the batch": "in other company and order they changed at",
    "is noisy": "answers at random",
    "keeps a part for itself": "keeps part of the model outside its saved state",
}


def test_every_cheat_is_disqualified_with_the_probe_and_the_size(cheats: tuple[list[str], Record]) -> None:
    names, (trials, measurements) = cheats
    for name, trial, (measurement,) in zip(names, trials[1:], measurements[1:], strict=False):
        assert trial.status is Status.DISQUALIFIED, name
        assert REASONS[name] in str(trial.reason)
        assert "nats" in str(trial.reason)
        assert trial.metric is None
        assert measurement.state is MeasurementState.FAILED
        assert measurement.score is None


def test_what_was_found_is_stored_with_what_the_cheat_claimed(cheats: tuple[list[str], Record]) -> None:
    names, (trials, measurements) = cheats
    baseline = trials[0].metric
    assert baseline is not None
    found = {name: rows[0].probes for name, rows in zip(names, measurements[1:], strict=False)}
    peek = found["looks ahead"]
    assert peek is not None
    assert peek["cuts_over"] > 0.9 * peek["cuts"]
    assert peek["order_over"] == peek["replay_over"] == 0
    assert peek["claimed_bpb"] < 0.5 * baseline
    worth = baseline - peek["claimed_bpb"]
    assert 0.5 * worth < peek["lean_bpb"] < 2 * worth  # the cuts asked about before it was clear lie far to the left
    learn = found["learns while scored"]
    assert learn is not None
    assert learn["replay_over"] > 0


def test_cheats_do_not_better_the_record(cheats: tuple[list[str], Record]) -> None:
    names, (trials, _) = cheats
    assert all(trial.parent_trial_id == trials[0].trial_id for trial in trials[1 : len(names) + 2])
    assert [trial.status for trial in trials[len(names) + 1 :]] == [Status.KEEP, Status.DISCARD]


def test_honest_measurements_pass_and_keep_what_the_probes_found(cheats: tuple[list[str], Record]) -> None:
    names, (_, measurements) = cheats
    baseline, (kept,), (discarded,) = measurements[0], *measurements[len(names) + 1 :]
    reports = [m.probes or {} for m in (*baseline, kept, discarded)]
    assert [report["cuts"] for report in reports] == [
        *[QUICK_CUTS] * 3,  # the baseline
        kept.probes and kept.probes["cuts_drawn"],  # before a keep
        QUICK_CUTS,
    ]
    assert all(report["suffix_nats"] <= report["tolerance_nats"] for report in reports)
    assert [report["tolerance_nats"] for report in reports] == [*[CAP_NATS] * 3, FLOOR_NATS, FLOOR_NATS]


def test_a_baseline_that_cheats_ends_the_campaign_with_the_reason(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, source=cheating("looks ahead"))
    with pytest.raises(HaltError, match=r"the baseline could not be measured \(disqualified\): it looks ahead: at"):
        run(root, [BETTER])


@pytest.mark.parametrize(
    ("rule", "most"),
    [("strict", 1), *firsts(0, [("sequential", 7)], rest=pytest.mark.system), *firsts(0, [("threshold", 3)])],
)
def test_nothing_is_kept_without_all_cuts_under_any_rule(rule: str, most: int, tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, rule=rule, max_measurements=most, baseline_seeds=3)
    trials, measurements = run(root, [BETTER, WORSE])
    assert trials[1].status is Status.KEEP
    assert probed_deeply(measurements[1])
    assert sum((m.probes or {})["cuts"] == QUICK_CUTS for m in measurements[1]) == len(measurements[1]) - 1
    assert [(m.probes or {})["cuts"] for m in measurements[2]] == [QUICK_CUTS]


def test_a_keep_that_came_unannounced_is_sent_back_to_be_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_quick_workspace(tmp_path)
    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), options=RunOptions(trials=1)) as services:

        class Unannounced(StrictRule):
            """Speaks of keeping only when all of the evidence is stored."""

            def decide(self, evidence: Evidence) -> Decision:
                decision = super().decide(evidence)
                rows = services.store.measurements(f"{services.campaign_id}-00001")
                stored = sum(m.state is MeasurementState.MEASURED for m in rows)
                return decision if len(evidence.candidate) == stored else replace(decision, action="discard")

        monkeypatch.setattr(services, "rule", Unannounced())
        without_a_finale(services)
        Runner(services).run()
        trial = services.store.trials(services.campaign_id)[1]
        first, second = (m.probes or {} for m in services.store.measurements(trial.trial_id))
    assert trial.status is Status.KEEP
    assert trial.n_measurements == 2
    assert (first["cuts"], second["cuts"]) == (QUICK_CUTS, second["cuts_drawn"])


@pytest.mark.system
def test_a_crash_between_probing_and_deciding_changes_nothing(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)

    class Crash(Exception):
        pass

    class Crashing(Observer):
        def measured(self, trial: Trial, measurement: Measurement) -> None:
            if trial.seq == 1:
                raise Crash

    with pytest.raises(Crash):
        run(root, [BETTER], Crashing())
    trials, measurements = run(root, [BETTER])
    assert trials[1].status is Status.KEEP
    assert len(measurements[1]) == 1
    assert measurements[1][0].attempt == 1
    assert probed_deeply(measurements[1])


def test_the_tolerance_is_the_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)
    with standin_campaign(root, proposer=ScriptedProposer([WORSE]), options=RunOptions(trials=1)) as services:
        probe = services.trainer.probe

        def coarse(model: TrainedModel, depths: dict[str, Depth], tolerance: float) -> list[ProbeReport]:
            return [replace(report, order_nats=5e-4) for report in probe(model, depths, tolerance)]

        monkeypatch.setattr(services.trainer, "probe", coarse)
        Runner(services).run()
        baseline, trial = services.store.trials(services.campaign_id)
        (measurement,) = services.store.measurements(trial.trial_id)
        assert [(m.probes or {})["tolerance_nats"] for m in services.store.measurements(baseline.trial_id)] == [
            CAP_NATS
        ] * 3
        assert (measurement.probes or {})["tolerance_nats"] == pytest.approx(5e-3)
        assert tolerance_nats(services, measurement) == pytest.approx(5e-3)


@pytest.mark.system
def test_what_a_score_would_decide_is_what_it_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence with a coming measurement is the evidence once it is stored: the noise, too."""
    root = make_quick_workspace(tmp_path, rule="sequential", max_measurements=7, baseline_seeds=3)
    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), options=RunOptions(trials=1)) as services:
        seen, decide = list[Evidence](), services.rule.decide

        def watched(evidence: Evidence) -> Decision:
            seen.append(evidence)
            return decide(evidence)

        monkeypatch.setattr(services.rule, "decide", watched)
        without_a_finale(services)
        Runner(services).run()
    first, second = ([e for e in seen if len(e.candidate) == n] for n in (1, 2))
    for coming, stored in (first, second[:2]):
        assert coming.candidate == stored.candidate
        assert coming.noise_df == stored.noise_df
        assert coming.noise_sd == pytest.approx(stored.noise_sd)
    assert second[0].noise_df == first[0].noise_df + 1
