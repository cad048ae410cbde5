"""Whole campaigns with the stand-in trainer: real git, real store, real processes, every edge of the graph."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.base import ProposalContext
from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.reader import Reader
from memory.records import Campaign, Phase, Trial, TrialKind
from rails.errors import TrialError
from rails.source.edits import read_knobs
from rails.status import Status
from tests.support.workspaces import make_quick_workspace, standin_campaign
from tools.gpt import Progress, TrainedModel

Script = list[str | Callable[[ProposalContext], str]]


def knob(name: str, value: float | str, reason: str = "because") -> str:
    return json.dumps({"knob": name, "new_value": value, "reason": reason})


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


def run_script(root: Path, script: Script, *, repairs: bool = False, trials: int | None = None) -> list[Trial]:
    """Run a campaign in which the proposer says exactly this, and return its trials."""
    proposer = ScriptedProposer(script, repairs_crashes=repairs)
    options = RunOptions(trials=trials or len(script))
    with standin_campaign(root, proposer=proposer, options=options) as services:
        Runner(services).run()
        return services.store.trials(services.campaign_id)


def finished(services: Services) -> tuple[Campaign, list[Trial]]:
    campaign = Runner(services).run()
    return campaign, services.store.trials(campaign.campaign_id)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Campaign, list[Trial]]:
    """One campaign of random search, shared by the tests that only look at what it left."""
    root = make_quick_workspace(tmp_path_factory.mktemp("night"), baseline_seeds=3)
    with standin_campaign(root, options=RunOptions(proposer="random", trials=10, tag="night")) as services:
        campaign, trials = finished(services)
    return root, campaign, trials


def test_a_campaign_ends_by_itself_and_every_trial_is_decided(night: tuple[Path, Campaign, list[Trial]]) -> None:
    _, campaign, trials = night
    assert campaign.stop_reason == "limit of 10 trials reached"
    assert [t.seq for t in trials] == list(range(11))
    assert all(t.phase is Phase.DECIDED and t.status is not None for t in trials)
    assert trials[0].status is Status.BASELINE
    assert trials[0].n_measurements >= 3
    assert any(t.status is Status.KEEP for t in trials), "random search on this landscape finds something better"


def test_the_branch_is_the_chain_of_keeps(night: tuple[Path, Campaign, list[Trial]]) -> None:
    root, campaign, trials = night
    keeps = [t for t in trials if t.status is Status.KEEP]
    branch = git(root, "rev-list", "--reverse", f"{campaign.baseline_commit}..autoresearch/night").split()
    assert branch == [t.commit_sha for t in keeps]
    assert campaign.head_commit == branch[-1]
    assert git(root, "status", "--porcelain", "--untracked-files=no").split() in ([], ["M", "results.tsv"])
    assert git(root, "for-each-ref", "refs/nightshift") == ""
    for trial in keeps:
        message = git(root, "log", "-1", "--format=%B", str(trial.commit_sha))
        assert f"Nightshift-Trial: {trial.seq}" in message
        assert f"val_bpb={trial.metric:.6f}" in message or trial is not keeps[-1]
        assert "results.tsv" in git(root, "show", "--stat", "--format=", str(trial.commit_sha))


def test_keeps_chain_from_parent_to_parent_and_each_was_better(night: tuple[Path, Campaign, list[Trial]]) -> None:
    _, campaign, trials = night
    by_id = {t.trial_id: t for t in trials}
    trial = by_id[str(campaign.incumbent_trial_id)]
    while trial.kind is TrialKind.SEARCH:
        assert trial.gain is not None
        assert trial.gain > 0
        trial = by_id[str(trial.parent_trial_id)]
    assert trial.seq == 0


def test_the_worktree_holds_the_incumbent(night: tuple[Path, Campaign, list[Trial]]) -> None:
    root, campaign, trials = night
    incumbent = next(t for t in trials if t.trial_id == campaign.incumbent_trial_id)
    values = read_knobs((root / "train.py").read_text(), "Knobs")
    assert incumbent.edit is not None
    assert values[incumbent.edit["knob"]] == incumbent.edit["value"]


def test_results_tsv_has_every_trial_and_no_sentinel_numbers(night: tuple[Path, Campaign, list[Trial]]) -> None:
    root, _, trials = night
    lines = (root / "results.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert len(lines) == 1 + len(trials)
    for line, trial in zip(lines[1:], trials, strict=True):
        cells = line.split("\t")
        assert cells[3] == trial.status
        assert (cells[1] == "") == (trial.metric is None)


def test_readers_see_the_same_record(night: tuple[Path, Campaign, list[Trial]]) -> None:
    root, campaign, trials = night
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        assert reader.trials(campaign.campaign_id) == trials
        assert reader.query("SELECT count(*) FROM trials").rows == [[11]]


@pytest.mark.system
def test_equal_seeds_give_equal_nights_to_the_last_digit(tmp_path: Path) -> None:
    nights: list[list[tuple[object, ...]]] = []
    for name in ("one", "two"):
        root = make_quick_workspace(tmp_path / name)
        options = RunOptions(proposer="random", trials=3, seed=7)
        with standin_campaign(root, options=options) as services:
            nights.append([(t.edit_key, t.metric, t.gain, t.status) for t in finished(services)[1]])
    assert nights[0] == nights[1]
    assert all(row[1] is not None for row in nights[0])


def test_a_blocked_proposal_is_corrected_with_the_rails_reason(tmp_path: Path) -> None:
    seen: list[ProposalContext] = []

    def correct(context: ProposalContext) -> str:
        seen.append(context)
        return knob("smoothing", 2.0)

    root = make_quick_workspace(tmp_path)
    script: Script = [knob("smoothing", 1000.0), "no json at all", correct]
    trials = run_script(root, script, trials=1)
    assert trials[1].status in {Status.KEEP, Status.DISCARD}
    assert trials[1].attempt == 2
    assert [(f.rail, f.raw_reply) for f in seen[0].feedback] == [("range", script[0]), ("schema", script[1])]
    assert "smoothing" in seen[0].feedback[0].reason


def test_after_two_corrections_a_proposal_is_blocked_for_good(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    trials = run_script(root, [knob("rows", 3), knob("nonsense", 1), knob("rows", 8), knob("rows", 16)], trials=2)
    assert trials[1].status is Status.RAIL_BLOCKED
    assert trials[1].metric is None
    assert trials[1].reason is not None
    assert trials[1].reason.startswith("novelty: ")
    assert trials[2].edit_key == "rows=16"
    assert trials[2].status in {Status.KEEP, Status.DISCARD}


def test_a_crash_has_a_reason_and_no_metric_and_the_loop_goes_on(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    trials = run_script(root, [knob("smoothing", 0.0), knob("rows", 16)])
    assert trials[1].status is Status.CRASH
    assert trials[1].metric is None
    assert "NaN" in str(trials[1].reason)
    assert trials[2].status in {Status.KEEP, Status.DISCARD}


def test_a_crash_goes_back_for_repair_when_the_proposer_can_use_it(tmp_path: Path) -> None:
    crashes: list[str | None] = []

    def repaired(context: ProposalContext) -> str:
        crashes.append(context.crash)
        return knob("smoothing", 1.0)

    root = make_quick_workspace(tmp_path)
    trials = run_script(root, [knob("smoothing", 0.0), repaired], repairs=True, trials=1)
    assert crashes[0] is not None
    assert "NaN" in crashes[0]
    assert trials[1].repairs == 1
    assert trials[1].edit_key == "smoothing=1.0"
    assert trials[1].status in {Status.KEEP, Status.DISCARD}


def test_a_repeat_is_refused_even_when_it_was_discarded_long_ago(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    worse = knob("bigram_weight", 0.0)
    trials = run_script(root, [worse, knob("decay", 0.5), worse, worse, worse], trials=3)
    assert trials[1].status is Status.DISCARD
    assert trials[3].status is Status.RAIL_BLOCKED
    assert "trial 1" in str(trials[3].reason)


def test_a_diff_is_a_proposal_like_any_other(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    old = "    smoothing: float = 4.0"
    line = next(text for text in (root / "train.py").read_text().splitlines() if text.startswith(old))
    number = (root / "train.py").read_text().splitlines().index(line) + 1
    new = line.replace("4.0", "2.0")
    diff = f"--- a/train.py\n+++ b/train.py\n@@ -{number},1 +{number},1 @@\n-{line}\n+{new}\n"
    reply = json.dumps({"diff": diff, "hypothesis": "less smoothing", "expected_delta": -0.01, "reason": "sharper"})
    trials = run_script(root, [reply])
    assert trials[1].status in {Status.KEEP, Status.DISCARD}
    assert trials[1].expected_delta == -0.01
    assert str(trials[1].edit_key).startswith("diff:")


@pytest.mark.system
def test_the_replicate_edge_measures_a_promising_candidate_again(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, rule="threshold", max_measurements=3)
    proposer = ScriptedProposer([knob("rows", 32), knob("bigram_weight", 0.0)])
    options = RunOptions(trials=2)
    with standin_campaign(root, proposer=proposer, options=options) as services:
        _, trials = finished(services)
        seeds = [m.seed_index for m in services.store.measurements(trials[1].trial_id)]
    assert trials[1].status is Status.KEEP
    assert seeds == [0, 1, 2]
    assert trials[1].n_measurements == 3
    assert trials[2].status is Status.DISCARD
    assert trials[2].n_measurements == 1


@pytest.mark.system
def test_the_sequential_rule_measures_candidate_and_incumbent_until_it_is_sure(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, rule="sequential", max_measurements=7, baseline_seeds=3)
    proposer = ScriptedProposer([knob("rows", 32), knob("bigram_weight", 0.0)])
    with standin_campaign(root, proposer=proposer, options=RunOptions(trials=2)) as services:
        _, trials = finished(services)
    assert trials[1].status is Status.KEEP
    assert trials[1].n_measurements >= 2
    assert trials[1].decision is not None
    assert trials[1].decision["p_null"] <= trials[1].decision["keep_level"]
    assert trials[2].status is Status.DISCARD
    assert trials[2].n_measurements == 1


@pytest.mark.system
def test_an_incumbent_that_failed_once_is_measured_again_for_the_next_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_quick_workspace(tmp_path, rule="threshold", max_measurements=2)
    proposer = ScriptedProposer([knob("rows", 32), knob("rows", 16)])
    with standin_campaign(root, proposer=proposer, options=RunOptions(trials=2)) as services:
        train, asked = services.trainer.train, list[int]()

        def fails_once(program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
            asked.append(seed)
            if len(asked) == 4:  # baseline, candidate, candidate again, and now the baseline again
                raise TrialError(Status.CRASH, "a passing trouble")
            return train(program, seed, on_progress)

        monkeypatch.setattr(services.trainer, "train", fails_once)
        _, trials = finished(services)
    assert trials[1].status is Status.DISCARD
    assert "could not be measured again (a passing trouble)" in str(trials[1].reason)
    assert trials[2].status is Status.KEEP
    assert trials[0].n_measurements == 2


def test_a_persons_uncommitted_work_is_never_touched(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    notes = "# Policy\n\nmy own notes, not committed yet\n"

    def edit_meanwhile(context: ProposalContext) -> str:
        (root / "program.md").write_text(notes)
        (root / "train.py").write_text((root / "train.py").read_text() + "\n# a person's remark\n")
        return knob("rows", 32)

    (root / "program.md").write_text("# Policy\n\nof the evening, not committed either\n")
    trials = run_script(root, [edit_meanwhile])
    assert trials[1].status is Status.KEEP
    assert (root / "program.md").read_text() == notes
    assert (root / "train.py").read_text().endswith("# a person's remark\n")
    assert "rows: int = 32" in git(root, "show", "HEAD:train.py")


def test_going_on_at_another_isolation_is_said_and_kept(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with standin_campaign(root) as services:
        best = services.trainer.isolation
        services.store.update_campaign(services.campaign_id, isolation="L0")
    notes: list[str] = []

    class Listener(Observer):
        def note(self, text: str) -> None:
            notes.append(text)

    with standin_campaign(root, observer=Listener()) as services:
        assert services.campaign.isolation == best
    assert f"trials run at isolation {best} from here on; before they ran at L0" in notes
