"""Choices as rows of tokens, and the loss of one: on the answer's tokens alone, whatever the objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.local.language_scorer import Encoder, Question, option_logs
from rails.errors import UserError
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.train import advantage_weights
from studies.distil.views import Choice

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One choice."""

    question: Question
    target: int
    """Which option was chosen."""
    weight: float


def make_rows(choices: Sequence[Choice], encoder: Encoder, recipe: LanguageRecipe) -> list[Row]:
    """The rows of choices that are legal moves.

    Raises:
        UserError: nothing of an answer is left in a row, so it could teach nothing.
    """
    usable = [choice for choice in choices if choice.example.target is not None]
    plain = [1.0] * len(usable)
    weights = advantage_weights(usable, recipe.advantage_scale) if recipe.objective == "advantage" else plain
    rows: list[Row] = []
    for choice, weight in zip(usable, weights, strict=True):
        row = Row(encoder.question(choice.situation), choice.example.target or 0, weight)
        if not supervised(row, recipe):
            what = f"trial {choice.example.seq} has nothing to learn from: its answer has no tokens, or no alternative"
            raise UserError(what, fix="leave its campaign out of the corpus")
        rows.append(row)
    return rows


def supervised(row: Row, recipe: LanguageRecipe) -> int:
    """How many tokens of the answer the loss looks at; of the prompt it looks at none."""
    if recipe.objective == "tokens":
        return len(row.question.answers[row.target])
    return len(row.question.trie.paths[row.target])


def loss_of(model: Any, row: Row, recipe: LanguageRecipe) -> "Tensor":
    """The loss of a row, times its weight.

    Args:
        model: a causal language model.
        row: to be learnt.
        recipe: with the objective.
    """
    if recipe.objective == "tokens":
        return row.weight * _of_tokens(model, row)
    logs = option_logs(model, row.question)
    return -row.weight * ((1 - recipe.smoothing) * logs[row.target] + recipe.smoothing * logs.mean())


def _of_tokens(model: Any, row: Row) -> "Tensor":
    """The mean cross-entropy of the answer's tokens. Logits are computed at their places alone."""
    import torch

    prompt, answer = row.question.prompt, row.question.answers[row.target]
    keep = torch.arange(len(prompt) - 1, len(prompt) + len(answer) - 1, device=model.device)
    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    places = torch.arange(ids.shape[1], device=model.device)[None]
    logits = model(input_ids=ids, position_ids=places, use_cache=False, logits_to_keep=keep).logits[0].float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(answer, device=model.device))
