"""Whole studies over the made-up table, in worker processes: the same numbers whatever was killed on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from graph.workspace import Workspace
from memory.reader import Reader
from rails.errors import BusyError, UserError
from studies.ablation import crew
from studies.ablation.arms import parse_arms
from studies.ablation.campaign import Places, run_job
from studies.ablation.estimate import estimate
from studies.ablation.outcome import Outcome
from studies.ablation.study import Study, Wishes, ready_study, run_study
from studies.ablation.verdict import sum_up
from tests.support.recorded import make_table, make_table_workspace

ARMS = "proposer=random+rule=strict,proposer=tpe"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace over the made-up table; workers find it, too."""
    table = make_table()
    for place in ("graph.campaign.create", "graph.campaign.circumstances"):
        monkeypatch.setattr(f"{place}.open_recorded", lambda name: table)
    monkeypatch.setattr(crew, "MODULE", "tests.support.study_worker")
    return make_table_workspace(tmp_path / "night")


def wishes(pairs: int = 2, arms: str = ARMS, **fields: Any) -> Wishes:
    return Wishes(arms=parse_arms(arms), pairs=pairs, trials=6, name="argument", **fields)


def told(*_: object) -> None:
    pass


def measured(study: Study) -> dict[str, Any]:
    """What must come out the same: all but how long it took."""
    return {name: outcome.model_dump(exclude={"took_s"}) for name, outcome in sorted(study.outcomes.items())}


def test_one_campaign_in_a_workspace_of_its_own(root: Path, tmp_path: Path) -> None:
    study = ready_study(root, wishes())
    assert not study.folder.exists(), "what is only looked at is not written"
    assert study.quick and estimate(study, root, 2).model_dump()["trials"] == 24
    files = study.folder / "files"
    files.mkdir(parents=True)
    for name, text in study.files.items():
        (files / name).write_text(text)
    memory = tmp_path / "memory"
    memory.mkdir()
    job = study.missing()[0]

    outcome = run_job(job, Places(study.folder, memory))

    assert outcome.true_scores and outcome.curve[0] == outcome.baseline and len(outcome.curve) == 7
    best = outcome.measures["best"]
    assert best is not None and best >= outcome.curve[0] and best == outcome.curve[-1]
    assert outcome.measures["tokens"] == 0 and outcome.measures["false_keeps"] is not None
    with Reader.open(Workspace(study.folder / "campaigns" / job.name).snapshot_dir) as reader:
        campaign = reader.latest_campaign()
        assert campaign is not None
        assert campaign.overrides == {"proposer": "random", "keep.rule": "strict"}
        assert (campaign.keep_rule, campaign.seed) == ("strict", 0)
        assert len(reader.trials(campaign.campaign_id)) == 7
    again = run_job(job, Places(study.folder, memory))
    assert again.model_dump(exclude={"took_s"}) == outcome.model_dump(exclude={"took_s"})


@pytest.mark.system
def test_a_study_in_workers_and_what_it_leaves_alone(root: Path) -> None:
    before = {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}
    study = ready_study(root, wishes())
    assert run_study(study, wishes(), told) is None
    result = sum_up(study)
    assert (result.pairs, result.true_scores, result.metric) == (2, True, "accuracy")
    assert all(arm.campaigns == 2 and not arm.failed for arm in result.arms)
    assert result.differences["best"].n == 2
    assert {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()} == before
    assert not list(root.glob(".nightshift/store*"))

    more = ready_study(root, wishes(pairs=3))
    assert measured(more) == measured(study) and len(more.missing()) == 2
    with pytest.raises(UserError, match="compares"):
        ready_study(root, wishes(arms="proposer=tpe,proposer=gp"))
    (root / "task.toml").write_text((root / "task.toml").read_text() + "\n# changed\n")
    with pytest.raises(UserError, match="not what they were"):
        ready_study(root, wishes())


@pytest.mark.slow
def test_a_failed_arm_is_reported_tried_again_and_ends_the_study(root: Path) -> None:
    asked = wishes(pairs=6, arms="proposer=random,proposer=replay:nothing.jsonl", workers=1)
    (root / "nothing.jsonl").write_text('{"raw": 3}\n')
    study = ready_study_of_broken(root, asked)
    heard: list[str] = []
    stopped = run_study(study, asked, lambda job, outcome: heard.append(outcome.failed or ""))
    assert stopped is not None and "failed 3 times in a row" in stopped
    assert len([failed for failed in heard if failed]) == 3
    result = sum_up(study, stopped)
    assert len(result.arms[1].failed) == 3 and "3 campaigns failed" in result.verdict
    assert result.arms[0].campaigns >= 2


def ready_study_of_broken(root: Path, asked: Wishes) -> Study:
    """Its recording is read when its campaign begins, and is none."""
    (root / "nothing.jsonl").write_text('{"knob": "width", "new_value": 32, "reason": "r"}\n')
    study = ready_study(root, asked)
    return Study(
        folder=study.folder,
        plan=study.plan,
        pairs=study.pairs,
        task=study.task,
        files={**study.files, "nothing.jsonl": "{no recording\n"},
    )


def test_what_an_arm_cannot_do_is_said_before(root: Path) -> None:
    with pytest.raises(UserError, match="no proposer"):
        ready_study(root, wishes(arms="proposer=tpee,proposer=tpe"))
    text = (root / "task.toml").read_text()
    (root / "task.toml").write_text(text.replace('modes = ["knob", "knobs"]', 'modes = ["knob"]'))
    with pytest.raises(UserError, match="another form"):
        ready_study(root, wishes(arms="proposer=cma,proposer=tpe"))


_PARENT = """
import sys
from pathlib import Path
from studies.ablation import crew, study
from studies.ablation.arms import parse_arms
from tests.support.recorded import make_table
crew.MODULE = "tests.support.study_worker"
asked = study.Wishes(arms=parse_arms(sys.argv[2]), pairs=4, trials=6, name="argument")
ready = study.ready_study(Path(sys.argv[1]), asked)
study.run_study(ready, asked, lambda job, outcome: print(job.name, outcome.failed, flush=True))
"""


@pytest.mark.slow
def test_a_study_that_is_killed_at_random_goes_on_to_the_same_numbers(root: Path, tmp_path: Path) -> None:
    undisturbed = ready_study(root, wishes(pairs=4))
    assert run_study(undisturbed, wishes(pairs=4), told) is None
    expected = measured(undisturbed)

    undisturbed.folder.rename(tmp_path / "first")
    rng = random.Random(11)
    results, command = undisturbed.folder / "results", [sys.executable, "-c", _PARENT, str(root), ARMS]
    for end in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
            before = len(list(results.glob("*.json")))
            while process.poll() is None and len(list(results.glob("*.json"))) == before:
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 0.5))
            if process.poll() is None:
                os.kill(process.pid, end)
            process.wait(timeout=30)
        time.sleep(0.5)  # orphans end by themselves when their stdin does
    assert results.exists() and ready_study(root, wishes(pairs=4)).missing()
    again = ready_study(root, wishes(pairs=4))
    run_study(again, wishes(pairs=4), told)
    assert measured(again) == expected


def test_two_processes_cannot_run_one_study(root: Path) -> None:
    from memory.lock import workspace_lock

    study = ready_study(root, wishes())
    study.folder.mkdir(parents=True)
    with workspace_lock(study.folder / "lock"), pytest.raises(BusyError):
        run_study(study, wishes(), told)


def test_a_result_that_is_torn_is_run_again(root: Path) -> None:
    study = ready_study(root, wishes())
    results = study.folder / "results"
    results.mkdir(parents=True)
    (study.folder / "study.json").write_text(study.plan.model_dump_json())
    (results / "0000-0.json").write_text(json.dumps({"pair": 0}))
    (results / "0000-1.json").write_text(Outcome(pair=0, arm=1, seed=0, curve=(0.7,)).model_dump_json())
    assert [job.name for job in ready_study(root, wishes()).missing()] == ["0000-0", "0001-1", "0001-0"]
