"""Options scored by a language model as a trie: the same chances as one by one, whatever the architecture."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.local.language_base import load_base
from agents.local.language_scorer import Encoder, LanguageScorer
from agents.local.prompt import option_text
from agents.local.situation import Situation, make_situation
from agents.local.trie import ROOT, make_trie
from agents.statistical.history import read_history
from rails.errors import UserError
from rails.status import Status
from tests.support.proposals import make_task, make_trial
from tests.support.tiny_language import TEMPLATE, tiny_model
from tests.support.variants import first

pytestmark = pytest.mark.system

TASK = make_task()


def situation() -> Situation:
    edits = [("width", 256, 0.01), ("matrix_lr", 0.04, -0.02), ("window", "SL", 0.005)]
    rows = [make_trial(seq, name, value, Status.DISCARD, gain) for seq, (name, value, gain) in enumerate(edits, 1)]
    history = read_history(rows, TASK.menu, TASK.menu.defaults())
    return make_situation(TASK.menu, TASK.menu.defaults(), history, seq=4)


def test_a_trie_shares_what_begins_alike_and_asks_nothing_below_the_last_parting() -> None:
    end = 9
    trie = make_trie([(1, 2, 3, end), (1, 2, 4, 5, end), (1, 2, end), (7, 8, end), (7, 8, end)])
    assert trie.tokens == (1, 2) and trie.parents == (ROOT, 0) and trie.depths == (1, 2)
    assert [(one.node, one.tokens) for one in trie.branches] == [(ROOT, (1, 7)), (1, (3, 4, end))]
    assert trie.paths == (((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 0), (1, 2)), ((0, 1),), ((0, 1),))
    assert trie.shared == (1, 1, 1, 2, 2)
    with pytest.raises(ValueError, match="terminator"):
        make_trie([(1, 2), (1, 2, 3)])


def one_by_one(base: Any, asked: Situation) -> np.ndarray[Any, Any]:
    """Chances among what is legal at every token, from a plain forward pass of prompt and answer each."""
    import torch

    encoder = Encoder(base.tokenizer, base.model.config)
    question = encoder.question(asked)
    found: list[float] = []
    for answer in question.answers:
        with torch.no_grad():
            logits = base.model(input_ids=torch.tensor([[*question.prompt, *answer]])).logits[0].double()
        total = 0.0
        for place, token in enumerate(answer):
            legal = sorted({other[place] for other in question.answers if other[:place] == answer[:place]})
            chances = logits[len(question.prompt) - 1 + place][legal].log_softmax(0)
            total += float(chances[legal.index(token)])
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2"])
@pytest.mark.parametrize("template", first(1, [TEMPLATE, None]))
def test_the_tree_says_what_single_forwards_say(tmp_path: Path, kind: str, template: str | None) -> None:
    folder = tiny_model(tmp_path, kind=kind, template=template)
    base = load_base(str(folder))
    scorer = LanguageScorer(base)
    asked = situation()
    expected = one_by_one(base, asked)
    np.testing.assert_allclose(scorer.logits(asked), expected, atol=1e-4)
    np.testing.assert_allclose(scorer.logits(asked), expected, atol=1e-4)  # the beginning is cached, and not spoilt
    assert math.isclose(float(np.exp(scorer.logits(asked)).sum()), 1.0, abs_tol=1e-5)


def test_the_order_of_the_options_does_not_matter(tmp_path: Path) -> None:
    scorer = LanguageScorer(load_base(str(tiny_model(tmp_path))))
    asked = situation()
    backwards = replace(asked, options=asked.options[::-1])
    np.testing.assert_allclose(scorer.logits(backwards)[::-1], scorer.logits(asked), atol=1e-5)


def test_a_prompt_that_is_too_long_loses_its_beginning_and_never_the_answer(tmp_path: Path) -> None:
    base = load_base(str(tiny_model(tmp_path)))
    base.model.config.max_position_embeddings = 60
    question = Encoder(base.tokenizer, base.model.config).question(situation())
    longest = max(map(len, question.answers))
    assert len(question.prompt) + longest == 60
    assert base.tokenizer.decode(question.prompt).endswith("assistant\n")
    first = situation().options[0]
    assert base.tokenizer.decode(question.answers[0]) == option_text(first) + "</s>"
    base.model.config.max_position_embeddings = longest
    with pytest.raises(UserError, match="an option is longer"):
        Encoder(base.tokenizer, base.model.config).question(situation())


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    tiny_model(tmp_path / "there")
    with pytest.raises(UserError, match=r"nowhere.gguf: there is no such language model"):
        load_base(str(tmp_path / "nowhere.gguf"))
    with pytest.raises(UserError, match="cannot be loaded"):
        (tmp_path / "empty").mkdir()
        load_base(str(tmp_path / "empty"))


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs the package transformers .* pip install 'nightshift\[distil\]'"):
        load_base(str(folder))
