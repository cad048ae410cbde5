"""The end of a campaign: incumbent and baseline on fresh seeds and on the test text, whatever happens meanwhile."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.scripted import ScriptedProposer
from cli.show.status import result_lines, status_document, status_sentence
from graph.campaign.options import RunOptions
from graph.campaign.result import FIRST_SEED
from graph.measuring.evidence import evidence_for
from graph.runner import Runner
from graph.watching.events import Observer
from memory.reader import Reader
from memory.records import Campaign, Measurement, Purpose, Trial
from rails.errors import TrialError
from rails.status import Status
from tests.support.workspaces import make_quick_workspace, standin_campaign
from tools.gpt import Progress, TrainedModel

BETTER = json.dumps({"knob": "rows", "new_value": 32, "reason": "more"})
WORSE = json.dumps({"knob": "bigram_weight", "new_value": 0.0, "reason": "less"})
OPTIONS = RunOptions(trials=1, tag="night")


class Watching(Observer):
    """Notes the order of the last measurements, and may pull the plug before one of them."""

    def __init__(self, before: int | None = None, then: Callable[[], None] | None = None) -> None:
        self.order = list[tuple[int, int]]()
        self.notes = list[str]()
        self._before, self._then = before, then

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        self.order.append((target.seq, seed_index))
        if self._then is not None and len(self.order) == self._before:
            self._then()

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(root: Path, script: list[str], observer: Observer | None = None) -> tuple[Campaign, dict[str, Any]]:
    """Run to the end; the campaign, and its status document as `status` shows it."""
    proposer = ScriptedProposer(script)
    with standin_campaign(root, proposer=proposer, observer=observer, options=OPTIONS) as services:
        campaign = Runner(services).run()
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        return campaign, status_document(reader, campaign)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Campaign, dict[str, Any]]:
    """A campaign that ends with its result, and its status document."""
    return run(make_quick_workspace(tmp_path_factory.mktemp("reference"), final_seeds=2), [BETTER])


@pytest.fixture(scope="module")
def reference(undisturbed: tuple[Campaign, dict[str, Any]]) -> dict[str, Any]:
    """The result of an undisturbed campaign."""
    campaign, _ = undisturbed
    assert campaign.final is not None
    assert campaign.final["n"] == 2
    return campaign.final


def test_the_result_is_measured_on_fresh_seeds_in_turns_and_on_the_test_text(tmp_path: Path) -> None:
    watching = Watching()
    root = make_quick_workspace(tmp_path, final_seeds=2, baseline_seeds=3)
    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), observer=watching, options=OPTIONS) as services:
        campaign = Runner(services).run()
        trials = services.store.trials(campaign.campaign_id)
        evidence = evidence_for(services, trials[1])
        measurements = services.store.campaign_measurements(campaign.campaign_id)
    finals = [m for m in measurements if m.purpose is Purpose.FINAL]
    assert watching.order == [(0, 1000), (1, 1000), (1, 1001), (0, 1001)]
    assert [m.seed_index for m in finals] == [seed for _, seed in watching.order]
    assert all(m.score and m.test_score and m.score != m.test_score for m in finals)
    assert all(m.test_score is None for m in measurements if m.purpose is Purpose.SEARCH)
    # They report; they decide nothing, and change no number of the search.
    assert [t.n_measurements for t in trials] == [3, 1]
    assert max(seed for seed, _ in (*evidence.candidate, *evidence.incumbent, *evidence.baseline)) < FIRST_SEED
    assert trials[1].metric == pytest.approx(evidence.candidate[0][1])

    final = campaign.final
    assert final is not None
    assert (final["state"], final["incumbent"], final["n"], final["seeds"]) == ("done", 1, 2, [1000, 1001])
    assert final["df"] == 4 + 2, "five measurements of the baseline and three of the incumbent"
    for text in ("val", "test"):
        side = final[text]
        assert side["gain"] == pytest.approx((side["baseline"] - side["incumbent"]) / side["baseline"])
        assert side["gain_low"] < side["gain"] < side["gain_high"]
    of_incumbent = [m.score for m in finals if m.trial_id == trials[1].trial_id and m.score]
    assert final["val"]["incumbent"] == pytest.approx(sum(of_incumbent) / 2)


@pytest.mark.system
def test_status_says_the_result_first(undisturbed: tuple[Campaign, dict[str, Any]]) -> None:
    campaign, document = undisturbed
    assert document["final"] == campaign.final
    assert document["incumbent"]["n"] == 1
    assert document["machine"] is None, "steps repeat exactly, whatever the machine does"
    first, second = status_sentence(document).splitlines()[:2]
    assert first.startswith("result: trial 1 is +")
    assert "re-measured on 2 fresh seeds" in first
    assert "[" in first
    assert second.startswith("on the held-back test text: +")


def test_when_nothing_was_kept_nothing_is_measured_and_status_says_so(tmp_path: Path) -> None:
    watching = Watching()
    campaign, document = run(make_quick_workspace(tmp_path, final_seeds=2), [WORSE], watching)
    assert campaign.final is None
    assert watching.order == []
    assert "no result was measured on fresh seeds: nothing was kept" in status_sentence(document)


@pytest.mark.system
def test_a_killed_finale_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, reference: dict[str, Any]) -> None:
    def kill() -> None:
        raise KeyboardInterrupt

    root = make_quick_workspace(tmp_path, final_seeds=2)
    with pytest.raises(KeyboardInterrupt):
        run(root, [BETTER], Watching(3, kill))
    again = Watching()
    campaign, _ = run(root, [], again)
    assert again.order == [(1, 1001), (0, 1001)], "what is measured stays measured, and no trial is opened"
    assert campaign.final == reference
    assert campaign.stop_reason == "limit of 1 trials reached"


@pytest.mark.system
def test_an_interrupted_finale_leaves_the_campaign_to_be_gone_on_with(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=2)
    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), options=OPTIONS) as services:

        def interrupt() -> None:  # what the signal handler does
            services.stop.ask()
            services.trainer.stop()

        watching = Watching(2, interrupt)
        services.observer = watching
        campaign = Runner(services).run()
    assert campaign.stop_reason == "interrupted by a signal"
    assert campaign.final is not None
    assert campaign.final["state"] == "running"
    assert result_lines(campaign.final) == ["result: trial 1 is being measured again on fresh seeds"]
    finished, _ = run(root, [])
    assert finished.final == reference


@pytest.mark.system
def test_a_measurement_that_fails_is_reported_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching()
    root = make_quick_workspace(tmp_path, final_seeds=2)
    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), observer=watching, options=OPTIONS) as services:
        train = services.trainer.train

        def fails_once(program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
            if seed == services.trainer.training_seed(services.campaign.seed, FIRST_SEED):
                raise TrialError(Status.CRASH, "out of luck")
            return train(program, seed, on_progress)

        monkeypatch.setattr(services.trainer, "train", fails_once)
        campaign = Runner(services).run()
    assert campaign.stop_reason == "limit of 1 trials reached"
    final = campaign.final
    assert final is not None
    assert (final["state"], final["n"], final["seeds"]) == ("done", 1, [1001])
    assert final["failures"] == [
        "baseline, seed 1000: crash: out of luck",
        "incumbent, seed 1000: crash: out of luck",
    ]
    assert any("out of luck" in note for note in watching.notes)


@pytest.mark.system
def test_when_all_fail_the_record_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=2)

    def unreadable(model: TrainedModel) -> float:
        raise TrialError(Status.EVAL_BUDGET_OVERRUN, "too slow on the test text")

    with standin_campaign(root, proposer=ScriptedProposer([BETTER]), options=OPTIONS) as services:
        monkeypatch.setattr(services.trainer, "score_test", unreadable)
        campaign = Runner(services).run()
        kept: list[Measurement] = services.store.measurements(str(campaign.incumbent_trial_id))
    assert campaign.final is not None
    assert (campaign.final["state"], campaign.final["val"], campaign.final["test"]) == ("failed", None, None)
    assert len(campaign.final["failures"]) == 4
    assert result_lines(campaign.final)[0] == "result: not measured"
    assert sum(m.purpose is Purpose.FINAL for m in kept) == 2


def test_no_seeds_no_finale(tmp_path: Path) -> None:
    campaign, document = run(make_quick_workspace(tmp_path, final_seeds=0), [BETTER])
    assert campaign.final is None
    assert "[final] seeds is 0" in status_sentence(document)
