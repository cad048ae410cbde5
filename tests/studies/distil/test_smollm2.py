"""A language model that nobody here wrote, out of a GGUF file: its options as a tree, and an adapter of it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from agents.local.language_base import load_base, with_adapter
from agents.local.language_scorer import Encoder, LanguageScorer
from agents.local.student import load_student
from agents.model.local_server import LocalServer
from studies.distil.language.check import TOLERANCE, log_one_by_one
from studies.distil.language.export import export_gguf
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.language.students import train_language_student
from studies.distil.views import heldout_choices
from tests.support.real_server import serving, weights
from tests.support.tiny_language import teacher_corpus

pytestmark = pytest.mark.slow  # a minute


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

    file = tmp_path / "exported" / "adapter.gguf"
    assert export_gguf(tmp_path, file) == 7 * LanguageRecipe().layers
    prompt = list(question.prompt)
    plain, adapted = loaded.model, with_adapter(load_base(base), tmp_path).eval()
    for model, other, adapter in ((plain, adapted, None), (adapted, plain, file)):
        with serving(adapter=adapter) as server:
            said = next_tokens(server, prompt)
        ours, theirs = (log_probabilities(asked, prompt) for asked in (model, other))
        off = [abs(log - ours[token]) for token, log in said.items()]
        assert max(off) < 0.5, "llama.cpp computes with 4 and 8 bits"
        assert sum(off) < 0.5 * sum(abs(log - theirs[token]) for token, log in said.items())


def next_tokens(server: LocalServer, prompt: list[int]) -> dict[int, float]:
    """The eight likeliest next tokens as llama.cpp's own endpoint states them."""
    body = json.dumps({"prompt": prompt, "n_predict": 1, "n_probs": 8, "temperature": 0}).encode()
    address = f"{server.base_url.removesuffix('/v1')}/completion"
    with urlopen(Request(address, body, {"Content-Type": "application/json"}), timeout=120) as answer:
        (place,) = json.load(answer)["completion_probabilities"]
    return {token["id"]: token["logprob"] for token in place["top_logprobs"]}


def log_probabilities(model: Any, prompt: list[int]) -> list[float]:
    import torch

    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], -1).tolist()
