"""Whether a model's chances of options as a tree are those of the options one by one."""

import math
from typing import Any

from agents.local.language_scorer import Question, option_logs
from rails.errors import UserError

TOLERANCE = 1e-3
"""How far logarithms of probabilities may be apart in single precision."""

COARSE_TOLERANCE = 0.5
"""The same in bfloat16, which has three digits."""


def tolerance_of(model: Any) -> float:
    """How far logarithms of probabilities may be apart by rounding alone."""
    import torch

    return TOLERANCE if model.dtype == torch.float32 else COARSE_TOLERANCE


def check_tree(model: Any, question: Question, place: int) -> None:
    """Refuse a model that passes over the mask or the positions of a tree.

    Args:
        model: a causal language model.
        question: any.
        place: of the option that is looked at.

    Raises:
        UserError: the tree says something else of the option than a plain forward pass does.
    """
    import torch

    with torch.no_grad():
        tree = float(option_logs(model, question)[place])
    if abs(tree - log_one_by_one(model, question, place)) > tolerance_of(model):
        what = "the model's chances of options as a tree are not those of the options one by one"
        raise UserError(what, fix="use another model: this one passes over the mask")


def log_one_by_one(model: Any, question: Question, place: int) -> float:
    """The logarithm of an option's probability, by a plain forward pass of prompt and answer.

    Args:
        model: a causal language model.
        question: prompt and options.
        place: of the option.
    """
    import torch

    ids = torch.tensor([[*question.prompt, *question.answers[place]]], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].float()
    total = 0.0
    for number, child in question.trie.paths[place]:
        branch = question.trie.branches[number]
        after = 0 if branch.node < 0 else question.trie.depths[branch.node]
        chances = logits[len(question.prompt) - 1 + after][list(branch.tokens)].log_softmax(0)
        total += float(chances[child])
    return total - math.log(question.trie.shared[place])
