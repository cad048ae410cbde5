"""Training of an adapter on a made-up teacher: what moves, what is resumed, and what is served afterwards."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.local.card import CARD, read_card
from agents.local.language_base import load_base
from agents.local.language_scorer import Encoder, LanguageScorer
from agents.local.scorer import probabilities
from agents.local.student import load_student
from agents.registry import make_proposer
from rails.errors import HaltError, UserError
from studies.distil.corpus import Corpus
from studies.distil.language.checkpoint import FILE
from studies.distil.language.export import export_gguf
from studies.distil.language.recipe import LanguageObjective, LanguageRecipe
from studies.distil.language.rows import loss_of, make_rows, supervised
from studies.distil.language.students import train_language_student
from studies.distil.language.upper import UpperModel
from studies.distil.race import race
from studies.distil.racers import DistributionRacer
from studies.distil.views import heldout_choices, training_choices
from tests.support.proposals import make_context, make_task
from tests.support.tiny_language import teacher_corpus, tiny_model

pytestmark = pytest.mark.system

RECIPE = LanguageRecipe(epochs=3, layers=2, learning_rate=1e-2, patience=2)


@pytest.fixture(scope="module")
def made() -> Corpus:
    return teacher_corpus(28, holdout=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def student(made: Corpus, base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    train_language_student(made, folder, base, RECIPE)
    return folder


def nll(scorer: Any, made: Corpus) -> float:
    chances = [
        probabilities(scorer.logits(choice.situation))[choice.example.target]
        for choice in heldout_choices(made)
        if choice.example.target is not None
    ]
    return float(np.mean([-math.log(chance) for chance in chances]))


def test_weights_move_and_what_the_teacher_does_is_learnt(made: Corpus, base: str, student: Path) -> None:
    card = read_card(student)
    metrics = card.metrics
    assert metrics["weight_l2_moved"] > 0.01 and metrics["parameters"] > 0
    assert metrics["rows"] + metrics["validation_rows"] == len(made.train)
    assert metrics["supervised_tokens"] >= metrics["rows"]
    assert card.temperature == metrics["temperature"] != 1.0
    assert (card.base, card.objective, len(card.corpus_sha256)) == (base, "listwise", 64)
    assert not (student / FILE).exists() and not (student / "README.md").exists()
    untuned = LanguageScorer(load_base(base))
    assert nll(load_student(student).scorer, made) < nll(untuned, made) - 0.3


def weights_in(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


class Killed(BaseException):
    """Stands for a process that is killed."""


def test_a_training_that_was_killed_ends_with_the_same_weights(
    made: Corpus, base: str, student: Path, tmp_path: Path
) -> None:
    def kill(done: int, total: int) -> None:
        raise Killed

    blind = Corpus(campaigns=made.campaigns, train=made.train, heldout=[])
    for _ in range(2):
        with pytest.raises(Killed):
            train_language_student(made, tmp_path, base, RECIPE, report=kill)
        assert not (tmp_path / CARD).exists()
    done: list[int] = []
    train_language_student(made, tmp_path, base, RECIPE, report=lambda one, _: done.append(one))
    assert done == [3]
    train_language_student(blind, tmp_path / "blind", base, RECIPE)
    expected, resumed, unseeing = map(weights_in, (student, tmp_path, tmp_path / "blind"))
    assert expected.keys() == resumed.keys() and len(expected) > 10
    for name, tensor in expected.items():
        assert tensor.equal(resumed[name]), name
        assert tensor.equal(unseeing[name]), name  # what is held out is not looked at


def test_every_objective_trains_on_the_answer_alone(made: Corpus, base: str) -> None:
    loaded = load_base(base)
    encoder = Encoder(loaded.tokenizer, loaded.model.config)
    choices = training_choices(made)
    objectives: tuple[LanguageObjective, ...] = ("listwise", "advantage", "tokens")
    for objective in objectives:
        recipe = replace(RECIPE, objective=objective, smoothing=0.0)
        rows = make_rows(choices, encoder, recipe)
        assert len(rows) == len(choices) and all(supervised(row, recipe) > 0 for row in rows)
        assert math.isclose(sum(row.weight for row in rows), len(rows), rel_tol=1e-6)
        assert (len({row.weight for row in rows}) > 1) == (objective == "advantage")
    row = make_rows(choices, encoder, replace(RECIPE, objective="tokens"))[0]
    answer = row.question.answers[row.target]
    assert supervised(row, replace(RECIPE, objective="tokens")) == len(answer)
    loss = {
        name: float(loss_of(loaded.model, row, replace(RECIPE, objective=name, smoothing=0.0)).detach())
        for name in objectives
    }
    assert loss["tokens"] * len(answer) > loss["listwise"]  # of all tokens, and of legal ones


def test_the_upper_layers_alone_do_as_the_whole_model_does(made: Corpus, base: str) -> None:
    model = load_base(base)
    row = make_rows(training_choices(made)[:1], Encoder(model.tokenizer, model.model.config), RECIPE)[0]
    upper = UpperModel(model.model, 1)
    whole = float(loss_of(model.model, row, RECIPE).detach())
    for _ in range(2):
        assert math.isclose(float(loss_of(upper, row, RECIPE).detach()), whole, abs_tol=1e-5)
    assert len(model.model.model.layers) == 3


def test_an_adapter_is_written_for_llama_cpp_into_a_folder_that_is_made(student: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="needs the extra distil: gguf")
    out = tmp_path / "not" / "there" / "adapter.gguf"
    assert export_gguf(student, out) == 7 * RECIPE.layers
    names = {tensor.name for tensor in gguf.GGUFReader(out).tensors}
    assert len(names) == 2 * 7 * RECIPE.layers and "blk.2.attn_q.weight.lora_b" in names
    with pytest.raises(HaltError, match="cannot be written"):
        export_gguf(student, out / "below a file")


def test_it_is_raced_and_proposes(made: Corpus, student: Path, tmp_path: Path) -> None:
    loaded = load_student(student)
    raced = race(made, [DistributionRacer("student", loaded.scorer)])["proposers"]["student"]
    assert raced["validity"] == 1.0 and raced["entropy"] > 0
    task = make_task()
    proposer = make_proposer(f"student:{student}/", workspace=tmp_path)
    replies = {proposer.propose(make_context(task, trial_seq=seq, seed=5)).raw for seq in (1, 2, 3)}
    for raw in replies:
        move = json.loads(raw)
        assert task.menu.knobs[move["knob"]].check(move["new_value"]) is None


def test_a_parent_of_another_base_is_refused_and_one_of_the_same_goes_on(
    made: Corpus, base: str, student: Path, tmp_path: Path
) -> None:
    other = tiny_model(tmp_path / "other")
    with pytest.raises(UserError, match="is an adapter of"):
        train_language_student(made, tmp_path / "s", str(other), RECIPE, parent=f"{student}/")
    card = train_language_student(made, tmp_path / "s", base, replace(RECIPE, epochs=1), parent=f"{student}/")
    assert card.metrics["validation_losses"][0] < read_card(student).metrics["validation_losses"][0]
