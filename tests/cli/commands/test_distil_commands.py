"""`distill` and `race` as commands: from a log to a promoted student, and what is refused on the way."""

import json
import random
from pathlib import Path

import pytest

from tests.support.command import Finished, nightshift
from tests.support.foreign_logs import HEADER, MENU, iteration, write_lines


def run(home: Path, *arguments: object) -> Finished:
    return nightshift(*arguments, cwd=home, env={"XDG_DATA_HOME": str(home / "data"), "OMP_NUM_THREADS": "1"})


def write_log(path: Path) -> None:
    """Forty iterations of a teacher that goes up with the learning rate, or tries a width."""
    rng = random.Random(0)
    rows = [
        iteration(number, "lr", 0.002 * rng.choice([1, 2]), 4.99)
        if rng.random() < 0.7
        else iteration(number, "width", 512, 4.95, "keep")
        for number in range(1, 41)
    ]
    write_lines(path, [HEADER, *rows])


@pytest.mark.system
def test_from_a_log_to_a_proposer_with_a_name(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl")
    (tmp_path / "menu.json").write_text(json.dumps(MENU))
    menu = ("--menu", "menu.json")
    card = run(tmp_path, "distill", "corpus", "log.jsonl", *menu, "--out", "corpus", "--json").document
    assert (card["train"], card["heldout"]) == (32, 8)
    assert {"train_keeps", "heldout_keeps", "no_ops", "warnings"} <= card.keys()
    trained = run(
        tmp_path, "distill", "train", "--corpus", "corpus", "--out", "student", "--objective", "clone", "--json"
    )
    assert trained.document["adapter"] == "student" and trained.document["metrics"]["rows"] > 0, trained.err
    raced = run(tmp_path, "race", "student", "random", "--on", "corpus", "--json").document["proposers"]
    assert {"validity", "knob_match", "exact_match", "latency_s", "entropy"} <= raced["student"].keys()
    assert {"marginal", "conditional logit", "uniform", "random"} <= raced.keys()
    on_log = run(tmp_path, "race", "student", "--on", "log.jsonl", *menu, "--json").document["proposers"]
    assert on_log["student"]["nll"] == raced["student"]["nll"]
    assert "held-out choices" in run(tmp_path, "race", "student", "--on", "corpus").out

    promote = ("distill", "promote", "student", "--name", "first", "--on", "corpus")
    refused = run(tmp_path, *promote)
    assert refused.code == 1 and "live gate was not run" in refused.err
    promoted = run(tmp_path, *promote, "--replay-only", "--json")
    live = ("--live", "cpu-gpt", "--pairs", 2, "--trials", 4, "--out", "raced")
    driven = run(tmp_path, "race", "student", "tpe", "marginal", "--on", "corpus", *live)
    assert "student less it" in driven.out, driven.err
    left = json.loads((tmp_path / "raced" / "race.json").read_text())["live"]
    assert left["regret"].keys() == {"student", "tpe", "random"} and left["regret_difference"] == left["less"]["tpe"]
    assert all(regret["n"] == 2 and regret["mean"] <= 1.0 for regret in left["regret"].values())
    assert "regret, 1 is the start" in (tmp_path / "raced" / "race.svg").read_text()
    judged = run(tmp_path, *promote, "--live", "raced/race.json")
    assert judged.code == 0 or "above its teacher's" in judged.err or "nats above" in judged.err
    if raced["student"]["nll"] < raced["marginal"]["nll"]:
        assert {gate["name"] for gate in promoted.document["gates"]} == {"validity", "nll", "live_regret"}
        assert list(run(tmp_path, "distill", "list", "--json").document["students"]) == ["first"]
    else:
        assert "nats above" in promoted.err and run(tmp_path, "distill", "list", "--json").document["students"] == {}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    none = run(tmp_path, "distill", "train", "--corpus", "nowhere", "--out", "s")
    assert none.code == 1 and "there is no corpus here" in none.err
    base = run(tmp_path, "distill", "train", "--corpus", "nowhere", "--out", "s", "--base", "x")
    assert base.code == 1 and "no base 'x'" in base.err
