"""Training, racing and promoting an embedded student on a made-up teacher that can be learnt."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.local.features import FEATURES
from agents.local.scorer import EmbeddedScorer, probabilities
from agents.local.student import load_student
from agents.statistical.proposers import RandomProposer, TpeProposer
from memory.record_set import RecordSet
from memory.records import Trial
from rails.errors import UserError
from rails.status import Status
from studies.distil.baselines import ConditionalLogit, Marginal, Uniform
from studies.distil.build import Recorded, build_corpus
from studies.distil.corpus import Corpus
from studies.distil.embedded import train_student
from studies.distil.measures import Prediction, Truth, bootstrap, figures_of
from studies.distil.promotion import judge, live_gate, replay_gates
from studies.distil.race import race
from studies.distil.racers import DistributionRacer, ProposerRacer, RecordedRacer
from studies.distil.train import Recipe, train_embedded, weights_of
from studies.distil.views import heldout_choices, training_choices
from tests.support.histories import BASELINE, history_campaign, knob_trial
from tests.support.proposals import make_task

MENU = make_task().menu
QUICK = Recipe(epochs=60)


def teacher(seed: int, trials: int = 40) -> list[Trial]:
    """A teacher that only ever steps the learning rate or the width, and gains by the former alone."""
    rng = random.Random(seed)
    rows = [BASELINE]
    for seq in range(1, trials + 1):
        steps = rng.random() < 0.6
        knob, value = ("matrix_lr", rng.choice([0.01, 0.04])) if steps else ("width", rng.choice([64, 192, 256]))
        gain = 0.01 if steps else -0.02
        rows.append(knob_trial(seq, knob, value, Status.DISCARD, gain=gain + rng.gauss(0, 1e-3)))
    return rows


def corpus(holdout: int = 8, campaigns: int = 2) -> Corpus:
    recorded = [
        Recorded(
            source=f"night {seed}",
            records=RecordSet(
                campaign=history_campaign().model_copy(update={"campaign_id": f"c{seed}"}), trials=teacher(seed)
            ),
            menu=MENU,
        )
        for seed in range(campaigns)
    ]
    return build_corpus(recorded, holdout=holdout)


@pytest.fixture(scope="module")
def made() -> Corpus:
    return corpus()


@pytest.fixture(scope="module")
def student(made: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    train_student(made, folder, replace(QUICK, objective="clone"))
    return folder


def nll(scorer: Any, made: Corpus) -> float:
    return float(
        np.mean(
            [
                -math.log(probabilities(scorer.logits(choice.situation))[choice.example.target])
                for choice in heldout_choices(made)
                if choice.example.target is not None
            ]
        )
    )


def test_training_moves_the_weights_and_learns_what_the_teacher_does(made: Corpus, student: Path) -> None:
    loaded = load_student(student)
    assert loaded.card.metrics["weight_l2_moved"] > 0.1
    assert loaded.card.metrics["parameters"] == 4897
    assert nll(loaded.scorer, made) < nll(Uniform(), made) - 1


def test_training_is_seeded_and_never_looks_at_what_is_held_out(made: Corpus) -> None:
    recipe = replace(QUICK, epochs=3)
    first = train_embedded(training_choices(made), recipe)
    blind = train_embedded(training_choices(replace_heldout(made)), recipe)
    other = train_embedded(training_choices(made), replace(recipe, seed=1))
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(weight, blind.weights[name])
    assert not np.array_equal(first.weights["encode.weight"], other.weights["encode.weight"])


def replace_heldout(made: Corpus) -> Corpus:
    return Corpus(campaigns=made.campaigns, train=made.train, heldout=[])


def test_what_gained_counts_more_and_is_chosen_more(made: Corpus) -> None:
    choices = training_choices(made)
    weights = weights_of(choices, Recipe())
    assert sum(weights) / len(weights) == pytest.approx(1)
    gained = {w for w, c in zip(weights, choices, strict=True) if (c.example.gain or 0) > 0}
    lost = {w for w, c in zip(weights, choices, strict=True) if (c.example.gain or 0) <= 0}
    assert min(gained) > max(lost)
    chances = {}
    for objective in ("clone", "advantage"):
        scorer = EmbeddedScorer(train_embedded(choices, replace(QUICK, objective=objective)).weights)
        here = heldout_choices(made)[0].situation
        said = probabilities(scorer.logits(here))
        chances[objective] = sum(p for p, option in zip(said, here.options, strict=True) if option[0] == "matrix_lr")
    assert chances["advantage"] > chances["clone"]


def test_the_network_is_the_same_in_training_and_in_use(made: Corpus) -> None:
    import torch

    from studies.distil import train

    choices = training_choices(made)[:5]
    rows = train._rows(choices, Recipe())  # pyright: ignore[reportPrivateUsage]
    parameters = train._fresh(torch.Generator().manual_seed(3))  # pyright: ignore[reportPrivateUsage]
    there = train._logits(parameters, rows)  # pyright: ignore[reportPrivateUsage]
    scorer = EmbeddedScorer({name: tensor.numpy().astype(np.float64) for name, tensor in parameters.items()})
    for row, choice in enumerate(choices):
        here = scorer.logits(choice.situation)
        np.testing.assert_allclose(there[row, : len(here)].numpy(), here, atol=1e-4)
    assert rows.features.shape[2] == len(FEATURES)


def test_a_race_has_everybody_and_shows_who_learnt(made: Corpus, student: Path) -> None:
    loaded = load_student(student)
    racers = [
        DistributionRacer("student", loaded.scorer),
        ProposerRacer("tpe", TpeProposer(), made),
        ProposerRacer("random", RandomProposer(), made),
    ]
    found = race(made, racers, samples=5)["proposers"]
    assert list(found) == ["student", "tpe", "random", "marginal", "conditional logit", "uniform"]
    assert all(figures["validity"] == 1.0 for figures in found.values())
    assert found["student"]["nll"] < found["uniform"]["nll"] and found["uniform"]["nll_less_marginal"]["low"] > 0
    assert found["student"]["knob_match"] > found["uniform"]["knob_match"]
    assert found["random"]["nll"] is None and found["random"]["entropy"] is None
    assert found["student"]["entropy"] < found["uniform"]["entropy"]
    assert found["student"]["value_known"] > 0 and found["student"]["latency_s"] > 0
    assert race(made, racers[:1])["proposers"]["student"]["distinct"] == found["student"]["distinct"]  # seeded
    with pytest.raises(UserError, match="twice"):
        race(made, [racers[0], racers[0]])
    with pytest.raises(UserError, match="nothing to race on"):
        race(replace_heldout(made), [])


def test_recorded_predictions_race_too(made: Corpus, tmp_path: Path) -> None:
    truths = [choice.example.choice or ("", 0) for choice in heldout_choices(made)]
    right = [json.dumps({"knob": knob, "new_value": value, "reason": "r"}) for knob, value in truths]
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join([json.dumps({"samples": [right[0], "no JSON"], "latency_s": 1.5}), *right[1:]]))
    figures = race(made, [RecordedRacer("replay", path)])["proposers"]["replay"]
    assert figures["exact_match"] == figures["knob_match"] == 1.0
    assert figures["validity"] == pytest.approx(1 - 1 / (len(truths) + 1))
    assert figures["latency_s"] == 1.5
    path.write_text(right[0])
    with pytest.raises(UserError, match="only 1 predictions"):
        race(made, [RecordedRacer("replay", path)])


def test_the_baselines_are_what_they_are_called(made: Corpus) -> None:
    choices = training_choices(made)
    here = heldout_choices(made)[0].situation
    chances = dict(zip(here.options, probabilities(Marginal(choices).logits(here)), strict=True))
    count = sum(choice.example.choice == ("width", 64) for choice in choices)
    total = sum(choice.example.target is not None for choice in choices) + 0.1 * len(here.options)
    assert chances[("width", 64)] == pytest.approx((count + 0.1) / total)
    assert nll(ConditionalLogit(choices), made) < nll(Uniform(), made)


def test_figures_by_hand() -> None:
    options = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    chances = np.array([0.5, 0.25, 0.125, 0.125])
    said = Prediction(samples=[("a", 1), ("a", 1), None], valid=[True, True, False], modal=("a", 1), chances=chances)
    truth = Truth(choice=("a", 2), options=options, target=1, gains={("a", 1): 0.02})
    figures = figures_of([said], [truth])
    assert figures["nll"] == pytest.approx(math.log(4))
    assert figures["knob_match"] == 1 and figures["exact_match"] == 0
    assert figures["knob_match_samples"] == pytest.approx(2 / 3)
    assert figures["self_agreement"] == pytest.approx(1 / 3)
    assert figures["validity"] == pytest.approx(2 / 3) and figures["distinct"] == 1
    assert figures["entropy"] == pytest.approx(1.75 * math.log(2))
    assert figures["max_mean_p"] == 0.5 and figures["calibration_gap"] == 0.5
    assert figures["value"] == 0.02 and figures["value_known"] == 1
    assert figures["nll_low"] is None
    low, high = bootstrap([0.0, 1.0] * 50) or (0, 0)
    assert 0.35 < low < 0.45 and 0.55 < high < 0.65


def test_gates_say_what_failed_and_by_how_much() -> None:
    def raced(validity: float, ours: float) -> dict[str, Any]:
        return {"student": {"validity": validity, "nll": ours}, "marginal": {"nll": 3.0}}

    good = [*replay_gates(raced(1.0, 2.8), "student"), live_gate({"regret_difference": {"high": 0.01}})]
    assert judge(good, replay_only=False) == good
    bad = [*replay_gates(raced(0.975, 3.25), "student"), live_gate({"regret_difference": {"high": 0.05}})]
    with pytest.raises(UserError) as told:
        judge(bad, replay_only=True)  # a live gate that was run and failed is not waived
    for words in ("97.5 %", "0.250 nats above", "+0.050"):
        assert words in str(told.value)
    waiting = [*replay_gates(raced(1.0, 2.8), "student"), live_gate(None)]
    with pytest.raises(UserError, match=r"the live gate was not run .*--replay-only"):
        judge(waiting, replay_only=False)
    assert judge(waiting, replay_only=True) == waiting


def test_trials_before_a_choice_are_the_rows_that_a_proposer_reads(made: Corpus) -> None:
    from studies.distil.contexts import context_of, task_of

    choice = heldout_choices(made)[0]
    context = context_of(choice, task_of(made.campaigns[0].menu), seed=0)
    assert [trial.seq for trial in context.trials] == list(range(choice.example.seq))
    assert context.trials[1].parent_trial_id == "0" and context.source.startswith("from dataclasses")
