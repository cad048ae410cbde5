"""A language model that nobody here wrote, out of a GGUF file: its options as a tree, and an adapter of it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from agents.local.language_base import load_base
from agents.local.language_scorer import Encoder, LanguageScorer
from agents.local.student import load_student
from studies.distil.language.check import TOLERANCE, log_one_by_one
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.language.students import train_language_student
from studies.distil.views import heldout_choices
from tests.support.real_server import weights
from tests.support.tiny_language import teacher_corpus

pytestmark = pytest.mark.system


def test_options_are_scored_and_an_adapter_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra distil: transformers")
    base = str(weights())
    corpus = teacher_corpus(8, holdout=2)
    asked = heldout_choices(corpus)[0].situation
    loaded = load_base(base)
    question = Encoder(loaded.tokenizer, loaded.model.config).question(asked)
    untuned = LanguageScorer(loaded).logits(asked)
    for place in range(0, len(question.answers), 7):
        assert math.isclose(untuned[place], log_one_by_one(loaded.model, question, place), abs_tol=TOLERANCE)
    card = train_language_student(corpus, tmp_path, base, replace(LanguageRecipe(), epochs=1))
    assert card.metrics["weight_l2_moved"] > 0
    tuned = load_student(tmp_path).scorer.logits(asked)
    assert abs(tuned - untuned).max() > 0.01
