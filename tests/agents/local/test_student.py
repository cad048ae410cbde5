"""A student as a proposer: legal, new, the same when asked again, indifferent to the order of options, and quick."""

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.base import Feedback, KnobValue, NoReplyError
from agents.local.card import CARD, StudentCard, write_card
from agents.local.features import FEATURES, featurise
from agents.local.proposer import StudentProposer
from agents.local.scorer import LAYERS, EmbeddedScorer, probabilities
from agents.local.shelf import find_student, put_student, student_names
from agents.local.situation import Situation, make_situation
from agents.local.student import load_student, save_embedded
from agents.registry import known_proposers, make_proposer
from agents.statistical.history import read_history
from memory.records import Trial, utc_now
from rails.errors import UserError
from rails.status import Status
from tests.support.proposals import make_context, make_task, make_trial

TASK = make_task()


def weights(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    sizes = {"encode": (len(FEATURES), 8), "mix": (8, 8), "join": (16, 6), "score": (6, 1)}
    return {
        **{f"{name}.weight": rng.normal(size=sizes[name]) for name in LAYERS},
        **{f"{name}.bias": rng.normal(size=sizes[name][1]) for name in LAYERS},
    }


def card(**fields: Any) -> StudentCard:
    known = {"base": "embedded", "objective": "clone", "seed": 0, "corpus_sha256": "0" * 64, "features": FEATURES}
    return StudentCard.model_validate({**known, "created_at": utc_now(), **fields})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    save_embedded(tmp_path / "student", weights(), card())
    return tmp_path / "student"


def campaign(proposer: StudentProposer, trials: int) -> list[Trial]:
    """A campaign in which every third proposal is kept."""
    knobs: dict[str, KnobValue] = dict(TASK.menu.defaults())
    rows: list[Trial] = []
    head = "t0"
    for seq in range(1, trials + 1):
        reply = proposer.propose(make_context(TASK, knobs=knobs, trials=tuple(rows), trial_seq=seq, seed=7))
        move = json.loads(reply.raw)
        name, value = move["knob"], move["new_value"]
        assert TASK.menu.knobs[name].check(value) is None and knobs[name] != value
        assert TASK.menu.broken_rule({**knobs, name: value}) is None
        keep = seq % 3 == 0
        status = Status.KEEP if keep else Status.DISCARD
        rows.append(make_trial(seq, name, value, status, 0.01 * keep - 0.005, parent_trial_id=head))
        if keep:
            knobs, head = {**knobs, name: value}, rows[-1].trial_id
    return rows


def test_every_proposal_is_legal_and_none_is_made_twice(folder: Path) -> None:
    proposer = StudentProposer("student:x", load_student(folder))
    rows = campaign(proposer, 60)
    history = read_history(rows, TASK.menu, TASK.menu.defaults())
    assert len(history.outcomes) == 60
    assert len(history.tried) == 61  # the start, and sixty settings that differ


def test_asked_again_it_answers_the_same_and_another_attempt_differs(folder: Path) -> None:
    first, again = (StudentProposer("student:x", load_student(folder)) for _ in range(2))
    context = make_context(TASK, seed=3)
    raw = first.propose(context).raw
    assert again.propose(context).raw == raw == first.propose(context).raw
    others = {first.propose(replace(context, attempt=attempt)).raw for attempt in range(6)}
    assert len(others) > 1
    refused = Feedback(raw_reply=raw, rail="novelty", reason="tried")
    assert json.loads(first.propose(replace(context, feedback=(refused,))).raw) != json.loads(raw)


def test_where_every_option_was_tried_any_other_value_is_drawn(folder: Path) -> None:
    task = make_task(knobs={"lr": {"type": "float", "range": [0.9, 1.0], "default": 0.95}})
    proposer = StudentProposer("student:x", load_student(folder))
    options = make_situation(task.menu, {"lr": 0.95}, read_history((), task.menu, {"lr": 0.95}), seq=1).options
    rows = [make_trial(seq, name, value, Status.DISCARD, -0.1) for seq, (name, value) in enumerate(options, start=1)]
    reply = proposer.propose(make_context(task, knobs={"lr": 0.95}, trials=tuple(rows), trial_seq=len(rows) + 1))
    assert "one at random" in json.loads(reply.raw)["reason"]
    with pytest.raises(NoReplyError, match="allows no such edit"):
        proposer.propose(make_context(make_task(modes=("diff",))))


def situation() -> Situation:
    edits = [("width", 256, 0.01), ("matrix_lr", 0.04, -0.02), ("window", "SL", 0.005), ("depth", 3, None)]
    rows = [
        make_trial(seq, name, value, Status.DISCARD if gain is not None else Status.CRASH, gain)
        for seq, (name, value, gain) in enumerate(edits, start=1)
    ]
    history = read_history(rows, TASK.menu, TASK.menu.defaults())
    return make_situation(TASK.menu, TASK.menu.defaults(), history, seq=5, limit=60)


def test_the_order_of_the_options_does_not_matter() -> None:
    here = situation()
    order = list(range(len(here.options)))
    random.Random(1).shuffle(order)
    shuffled = replace(here, options=[here.options[place] for place in order])
    scorer = EmbeddedScorer(weights())
    np.testing.assert_allclose(scorer.logits(shuffled), scorer.logits(here)[order], atol=1e-12)


def test_features_say_what_was_tried_and_what_it_brought() -> None:
    here = situation()
    rows = dict(zip(here.options, featurise(here), strict=True))

    def feature(option: tuple[str, KnobValue], name: str) -> float:
        return float(rows[option][FEATURES.index(name)])

    assert feature(("width", 256), "log_tried_value") == pytest.approx(np.log(2))
    assert feature(("width", 256), "near_miss") == 1 and feature(("width", 64), "near_miss") == 0
    assert feature(("width", 256), "last_gain_side") > 0 > feature(("matrix_lr", 0.08), "last_gain_side")
    assert feature(("matrix_lr", 0.01), "last_gain_other") < 0 == feature(("matrix_lr", 0.01), "last_gain_side")
    assert feature(("window", "SL"), "last_gain_side") > 0 == feature(("window", "SSL"), "last_gain_side")
    assert feature(("depth", 4), "mean_gain") == -2  # it crashed
    assert feature(("beta2", 0.9), "knob_untouched") == 1
    assert np.isfinite(featurise(here)).all()


def test_no_history_and_one_option_are_no_special_case() -> None:
    here = situation()
    alone = replace(here, outcomes=(), options=here.options[:1])
    assert probabilities(EmbeddedScorer(weights()).logits(alone)).tolist() == [1.0]


def test_a_proposal_takes_little_processor_time(folder: Path) -> None:
    proposer = StudentProposer("student:x", load_student(folder))
    rows = campaign(proposer, 30)
    context = make_context(TASK, trials=tuple(rows), trial_seq=31)
    took_s: list[float] = []
    for _ in range(20):
        started = time.thread_time()
        proposer.propose(context)
        took_s.append(time.thread_time() - started)
    assert min(took_s) < 0.004  # twice what it may cost where nothing else runs


def test_students_are_proposers_by_name_and_by_folder(folder: Path, tmp_path: Path) -> None:
    place, written = put_student(folder, "first", [{"name": "validity", "passed": True}])
    assert student_names() == ("first",) and find_student("first") == place
    assert written.gates and load_student(place).card == written
    assert known_proposers(tmp_path)[-1] == "student:first"
    assert make_proposer("student:first", workspace=tmp_path).name == "student:first"
    assert make_proposer("student:./student", workspace=tmp_path).name == "student:./student"
    put_student(folder, "first", [])
    assert load_student(place).card.gates == []
    assert [entry.name for entry in place.parent.iterdir()] == ["first"]
    with pytest.raises(UserError, match=r"no student 'frist' \(did you mean 'first'"):
        make_proposer("student:frist", workspace=tmp_path)
    with pytest.raises(UserError, match="no name for a student"):
        put_student(folder, "../x", [])


def test_damaged_students_are_refused(folder: Path) -> None:
    broken = weights()
    broken["mix.bias"][0] = float("nan")
    save_embedded(folder, broken, card())
    with pytest.raises(UserError, match="do not fit"):
        load_student(folder)
    (folder / "weights.npz").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="cannot be read"):
        load_student(folder)
    write_card(folder, card(features=FEATURES[:-1]))
    with pytest.raises(UserError, match="other features"):
        load_student(folder)
    (folder / CARD).write_text("{}")
    with pytest.raises(UserError, match="card cannot be read"):
        load_student(folder)
