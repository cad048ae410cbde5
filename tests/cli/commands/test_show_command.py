"""`nightshift show` and `diff`: every kind of trial, for people and for scripts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.show.decision import evidence_lines
from cli.show.trial import print_diff, probability
from graph.runner import Runner
from memory.publish import publish
from memory.records import Call, CallRole, MeasurementState, Origin, Phase, Trial, Verdict
from memory.store import Store
from rails.status import Status
from tests.support.command import nightshift
from tests.support.nights import Endpoint, rows
from tests.support.rows import (
    CampaignRecords,
    make_campaign,
    make_measurement,
    make_records,
    make_trial,
    write_records,
)
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace, standin_campaign

KEYS = {"trial", "proposal", "verdicts", "diff", "measurements", "decision", "calls", "curves"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, CampaignRecords]]:
    """A made-up campaign with every status, an open trial, and text that is not to be printed as it is."""
    root = tmp_path_factory.mktemp("show")
    records = make_records(60, seed=2)
    (root / ".nightshift").mkdir()
    (root / "task.toml").write_text("")
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        write_records(store, records)
        trial = make_trial(records.campaign, 61, parent_trial_id=records.trials[0].trial_id, edit_key="\x1b[31mlr=1")
        store.open_trial(trial)
        blocked = [Verdict(trial_id=trial.trial_id, attempt=0, position=0, rail="range", ok=False, reason="too large")]
        passed = [Verdict(trial_id=trial.trial_id, attempt=1, position=0, rail="range", ok=True)]
        store.add_verdicts([*blocked, *passed])
        store.update_trial(trial.trial_id, phase=Phase.RUNNING)
        running = make_measurement(trial, 0, None, state=MeasurementState.RUNNING, finished_at=None)
        store.open_measurement(running)
        publish(store, root / ".nightshift" / "snapshot")
    yield root, records


def earliest(records: CampaignRecords, status: Status) -> Trial:
    return next(trial for trial in records.trials if trial.status is status)


KINDS = (Status.BASELINE, Status.KEEP, Status.DISCARD, Status.CRASH, Status.RAIL_BLOCKED, Status.INTERRUPTED)


@pytest.mark.parametrize("status", first(2, KINDS))
def test_every_kind_of_trial_is_shown(status: Status, night: tuple[Path, CampaignRecords]) -> None:
    root, records = night
    trial = earliest(records, status)
    done = nightshift("show", root, trial.seq)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"trial {trial.seq}: {status}")
    assert f"why: {trial.reason}" in lines
    document = nightshift("show", root, trial.seq, "--json").document
    assert document.keys() >= KEYS
    measured = records.of(records.measurements, trial)
    assert len(document["measurements"]) == len(document["curves"]) == len(measured)
    if measured:
        curve = records.of(records.curves, trial)[0]
        assert document["curves"][0] == curve.model_dump(mode="json", exclude={"trial_id"})
        assert f"loss, seed 0 ({len(curve.step)} points)" in lines
        assert sum(0x2800 < ord(c) < 0x2900 for c in done.out) > 20
    else:
        assert "measurements" not in lines


def test_a_trial_in_hand_is_shown_as_far_as_it_has_got(night: tuple[Path, CampaignRecords]) -> None:
    done = nightshift("show", night[0], 61)
    lines = done.out.splitlines()
    assert lines[0] == r"trial 61: not decided yet (running)  \x1b[31mlr=1  (on trial 0)"
    assert "attempt 1: blocked by range: too large" in lines
    assert "attempt 2: passed range" in lines
    assert "took" not in lines[1] or "time not measured" in lines[1]
    assert "\x1b" not in done.out


def test_a_trial_that_is_not_there(night: tuple[Path, CampaignRecords]) -> None:
    for command in (["show", night[0], 99], ["diff", night[0], 0, 99]):
        done = nightshift(*command)
        assert done.code == 1
        assert "trials go from 0 to 61" in done.err


DECISION: dict[str, Any] = {
    "action": "keep",
    "reason": "better",
    "rule": "sequential",
    "seeds": [0, 1],
    "candidate_mean": 1.28756,
    "incumbent_mean": 1.31402,
    "baseline_mean": 1.314,
    "noise_sd": 0.0051,
    "noise_df": 6,
    "noise_campaigns": 2,
    "on_clock": True,
    "direction": "minimize",
    "scores_by_seed": [[0, 1.28756, 1.31402], [1, 1.29070, 1.31402], [3, 1.32716, 1.31402]],
    "slope": 0.62,
    "pair_sd": 0.0031,
    "earlier_pairs": 9,
    "n_candidate": 4,
    "n_incumbent": 5,
    "n_left_out": 1,
    "n_controls": 2,
    "statistic": 7.41,
    "control_statistic": 2.5,
    "p_null": 0.00016,
    "keep_level": 0.0015,
    "futility_bound": 1.6,
    "control_bound": 2.2,
    "cap": 4,
}


def test_evidence_in_words() -> None:
    assert evidence_lines(DECISION) == [
        "keep decided by the rule sequential",
        "candidate 1.2876, incumbent 1.3140, baseline 1.3140, on 2 shared seeds (0, 1); 4 and 5 measurements in all",
        "1 older measurement of the incumbent left out: the machine changed since",
        "seed    0  worse ----------------|---------------o better  +2.01 %",
        "seed    1  worse ----------------|-------------o-- better  +1.77 %",
        "seed    3  worse --------o-------|---------------- better  -1.00 %",
        "one measurement varies by 0.0051 (sd), with 6 degrees of freedom over 2 campaigns",
        "from seed to seed it follows the incumbent by 62 %; the rest varies by 0.0031 (sd), by it and 9 earlier pairs",
        "the difference is 7.41 standard errors: enough to go on (at least 1.6)",
        "by noise alone it would look this good with a chance of 0.00016: proven (at most 0.0015)",
        "against its 2 controls of the same trial: 2.50 standard errors, enough (at least 2.2)",
    ]
    unpaired = evidence_lines({**DECISION, "seeds": [], "scores_by_seed": []})
    assert unpaired[1].endswith("baseline 1.3140, no seed shared; 4 and 5 measurements in all")
    assert not any(line.startswith("seed") for line in unpaired)


@pytest.mark.parametrize("key", sorted(DECISION))
def test_evidence_with_a_number_missing_is_told_without_it(key: str) -> None:
    for decision in ({**DECISION, key: None}, {k: v for k, v in DECISION.items() if k != key}):
        assert all(line and "None" not in line for line in evidence_lines(decision))


def test_evidence_of_an_early_stop_and_of_a_newer_rule() -> None:
    stop = {"action": "discard", "reason": "r", "rule": "early_stop", "checkpoint": 0.25, "loss": 3.5, "pairs": 12}
    stop |= {"incumbent_loss": 3.2, "deficit": 0.094, "margin": 0.05, "confidence": 0.99}
    assert evidence_lines(stop) == [
        "training was stopped: its curve was hopeless",
        "after 25 % of the budget its loss was 3.5000, the incumbent's 3.2000: 9.4 % behind",
        "from there, trainings made up no more than 5.0 % in 99 % of cases, by 12 comparisons",
    ]
    assert "the incumbent's on the same seed 3.2000: 9.4 % behind" in evidence_lines({**stop, "on_seed": True})[1]
    assert evidence_lines({"rule": "new", "action": "keep", "moon_phase": "full"})[-1] == "moon phase: full"
    assert evidence_lines({"rule": "strict", "action": "discard", "incumbent_failed": 3})[-1].endswith("with seed 3")


@pytest.mark.parametrize(("p", "text"), [(0.0, "< 0.001"), (1.0, "> 0.999"), (0.99951, "> 0.999"), (0.5, "0.500")])
def test_a_probability_is_never_more_certain_than_it_is(p: float, text: str) -> None:
    assert probability(p) == text


def test_a_diff_is_coloured_only_on_top(capsys: pytest.CaptureFixture[str]) -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-x = [1]\n+x = [bold]\x1b[2J\n same"
    print_diff(Console(force_terminal=True, color_system="standard"), diff)
    coloured = capsys.readouterr().out
    assert "\x1b[32m" in coloured
    assert "\x1b[31m" in coloured
    assert "\x1b[2J" not in coloured
    print_diff(Console(force_terminal=False), diff)
    assert capsys.readouterr().out.splitlines() == diff.replace("\x1b", "\\x1b").splitlines()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real campaign: rows=4, a blocked proposal, rows=16, with programs in git."""
    root = make_quick_workspace(tmp_path_factory.mktemp("diff"))
    endpoint = Endpoint(rows(4), rows(999), rows(999), rows(999), rows(16))
    with standin_campaign(root, proposer=endpoint) as services:
        services.limits = services.limits.model_copy(update={"trials": 3})
        Runner(services).run()
    return root


def test_two_programs_are_compared_from_git(programs: Path) -> None:
    document = nightshift("diff", programs, 0, 3, "--json").document
    assert document.keys() == {"a", "b", "comparison", "knobs", "diff", "no_diff_because"}
    removed = [line for line in document["diff"].splitlines() if line.startswith("-") and not line.startswith("---")]
    added = [line for line in document["diff"].splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert removed == ["-    rows: int = 8  # rows of a batch"]
    assert added == ["+    rows: int = 16  # rows of a batch"]
    assert document["knobs"] == [{"knob": "rows", "a": 8, "b": 16}]
    assert (document["a"]["trial"], document["a"]["status"], document["b"]["edit"]) == (0, "baseline", "rows=16")
    expected = (document["a"]["metric"] - document["b"]["metric"]) / document["a"]["metric"]
    assert document["comparison"]["gain"] == pytest.approx(expected)
    shown = nightshift("diff", programs, 0, 3).out
    assert "+    rows: int = 16  # rows of a batch" in shown
    assert "trial 3 against trial 0, all measurements:" in shown


def test_the_same_program_has_no_difference(programs: Path) -> None:
    document = nightshift("diff", programs, 1, 1, "--json").document
    assert (document["diff"], document["knobs"], document["comparison"]) == ("", [], None)
    assert "the programs are the same" in nightshift("diff", programs, 1, 1).out


def test_a_trial_without_a_program_says_so(programs: Path) -> None:
    document = nightshift("diff", programs, 0, 2, "--json").document
    assert document["diff"] is None
    assert "never got as far as a program (rail_blocked)" in document["no_diff_because"]
    assert "never got as far as a program" in nightshift("diff", programs, 0, 2).out


def test_without_git_objects_the_recorded_edits_are_shown(night: tuple[Path, CampaignRecords]) -> None:
    root, records = night
    keep, discard = earliest(records, Status.KEEP), earliest(records, Status.DISCARD)
    document = nightshift("diff", root, discard.seq, keep.seq, "--json").document
    assert document["diff"] is None
    assert document["no_diff_because"]
    assert document["b"]["edits"][-1] == {"trial": keep.seq, "edit": keep.edit_key, "diff": keep.diff}
    shown = nightshift("diff", root, discard.seq, keep.seq)
    assert shown.code == 0
    assert "no diff of the programs" in shown.out
    assert f"+    {keep.edit_key}".replace("=", " = ") in shown.out


def test_it_says_whose_idea_it_was_and_what_the_critic_said(tmp_path: Path) -> None:
    root, campaign = tmp_path, make_campaign()
    draft = {"kind": "knob", "knob": "lr", "value": 0.3}
    critique = {"verdict": "revise", "ground": "refuted", "reason": "as it was", "trial": 1, "draft": draft}
    who: dict[str, Any] = {"proposer": "hybrid:mine", "specialist": "schedule", "origin": Origin.CHOICE}
    trial = make_trial(campaign, 2, **who, critique={**critique, "revised": True})
    asked = [
        Call(call_id=role, trial_id=trial.trial_id, attempt=0, position=at, proposer="hybrid:mine", model="mine",
             role=role, latency_s=1.0, created_at=trial.created_at, raw_reply="{}")
        for at, role in enumerate((CallRole.PROPOSE, CallRole.CRITIC))
    ]  # fmt: skip
    (root / ".nightshift").mkdir()
    (root / "task.toml").write_text("")
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        store.add_campaign(campaign)
        store.open_trial(trial)
        store.add_calls(asked)
        publish(store, root / ".nightshift" / "snapshot")
    shown = nightshift("show", root, 2).out
    for line in (
        "by: hybrid:mine · schedule",
        "idea of: the model, among the search's moves",
        "critic: revise (refuted: as it was, see trial 1)",
        "the draft that it saw: lr = 0.3",
    ):
        assert line in shown.splitlines(), shown
    assert "critic" in next(line for line in shown.splitlines() if line.startswith("1  ") and "critic" in line)
    document = nightshift("show", root, 2, "--json").document
    assert document["trial"]["origin"] == "choice" and document["trial"]["critique"]["revised"] is True
