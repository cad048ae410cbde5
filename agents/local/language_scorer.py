"""A language model that gives every option its chance, all in one forward pass.

The options are a trie of tokens behind the prompt. Each node sees the prompt and what leads to it, by a mask, and
stands where it would stand if it alone followed the prompt. At every place where options part, the chances of what may
follow are taken among themselves, so that those of all options sum to one and nothing illegal has any.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.local.language_base import LanguageBase
from agents.local.prompt import option_text, situation_prompt
from agents.local.scorer import Vector
from agents.local.situation import Option, Situation
from agents.local.trie import ROOT, TokenTrie, make_trie
from rails.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MOST_TOKENS = 1024
"""Of prompt and the longest option; an older model may see fewer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A situation in tokens."""

    prompt: tuple[int, ...]
    trie: TokenTrie
    answers: tuple[tuple[int, ...], ...]
    """The tokens of every option, with the end token."""


class Encoder:
    """Turns situations into tokens, as one model wants them.

    Args:
        tokenizer: of the model; its chat template is used where it has one.
        config: of the model, for how much it can see.
    """

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self._tokenizer = tokenizer
        limits = (getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window"))
        self._most = min([limit for limit in limits if limit], default=MOST_TOKENS)
        self._most = min(self._most, MOST_TOKENS)
        self._answers: dict[Option, tuple[int, ...]] = {}

    def question(self, situation: Situation) -> Question:
        """A situation in tokens. Of a prompt that is too long the beginning goes, never the answer.

        Raises:
            UserError: the model sees too little for an option.
        """
        answers = tuple(self.answer(option) for option in situation.options)
        room = self._most - max(map(len, answers))
        if room < 1:
            raise UserError(f"the model sees {self._most} tokens, and an option is longer", fix="use another model")
        return Question(self.prompt(situation_prompt(situation))[-room:], make_trie(answers), answers)

    def prompt(self, text: str) -> tuple[int, ...]:
        """The tokens of what the model reads before it answers."""
        if self._tokenizer.chat_template is None:
            return tuple(self._tokenizer(text + "\n")["input_ids"])
        messages = [{"role": "user", "content": text}]
        # Templates that print a date or open a train of thought would otherwise say something else every day.
        fixed = {"date_string": "1 January 2025", "enable_thinking": False}
        written = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **fixed)
        return tuple(self._tokenizer(written, add_special_tokens=False)["input_ids"])

    def answer(self, option: Option) -> tuple[int, ...]:
        """The tokens of an option, with the end token."""
        if option not in self._answers:
            tokens = self._tokenizer(option_text(option), add_special_tokens=False)["input_ids"]
            self._answers[option] = (*tokens, self._tokenizer.eos_token_id)
        return self._answers[option]


def option_logs(model: Any, question: Question, *, known: int = 0, cache: Any = None) -> "Tensor":
    """The logarithm of every option's probability, in one forward pass; gradients flow.

    Args:
        model: a causal language model.
        question: prompt and options.
        known: how many of the prompt's first tokens are in the cache. At least one is not.
        cache: keys and values of them; what this adds to it is of no use to anybody.
    """
    import torch

    trie, rest = question.trie, question.prompt[known:]
    device = model.device
    if not trie.branches:  # a single option
        return torch.zeros(len(trie.paths), device=device) - torch.tensor(trie.shared, device=device).log()
    keep = [len(rest) - 1 if one.node == ROOT else len(rest) + one.node for one in trie.branches]
    mask = _mask(trie, len(rest), known).to(device)
    floats = torch.zeros(mask.shape, dtype=model.dtype, device=device)
    floats = floats.masked_fill(~mask, torch.finfo(model.dtype).min)[None, None]
    kinds = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}
    places = [*range(known, len(question.prompt)), *(len(question.prompt) - 1 + depth for depth in trie.depths)]
    logits = model(
        input_ids=torch.tensor([[*rest, *trie.tokens]], device=device),
        attention_mask={kind: floats for kind in (*kinds, "full_attention")} if kinds else floats,
        position_ids=torch.tensor([places], device=device),
        cache=cache,
        use_cache=cache is not None,
        logits_to_keep=torch.tensor(keep, device=device),
    ).logits[0]
    return _of_branches(trie, logits.float())


def _mask(trie: TokenTrie, rest: int, known: int) -> "Tensor":
    """Who sees whom: a row each for the rest of the prompt and the nodes, a column for those and all known tokens."""
    import torch

    nodes = len(trie.tokens)
    mask = torch.zeros(rest + nodes, known + rest + nodes, dtype=torch.bool)
    mask[:, :known] = True
    mask[:rest, known : known + rest] = torch.ones(rest, rest, dtype=torch.bool).tril()
    mask[rest:, known : known + rest] = True
    lineage = torch.eye(nodes, dtype=torch.bool)
    for node, parent in enumerate(trie.parents):
        if parent != ROOT:
            lineage[node] |= lineage[parent]
    mask[rest:, known + rest :] = lineage
    return mask


def _of_branches(trie: TokenTrie, logits: "Tensor") -> "Tensor":
    """From logits at every branch to logarithms of every option."""
    import torch

    most = max(len(branch.tokens) for branch in trie.branches)
    tokens = torch.tensor([[*one.tokens, *([0] * (most - len(one.tokens)))] for one in trie.branches])
    present = torch.tensor([[place < len(one.tokens) for place in range(most)] for one in trie.branches])
    legal = logits.gather(1, tokens.to(logits.device))
    legal = legal.masked_fill(~present.to(logits.device), torch.finfo(legal.dtype).min)
    flat = torch.cat([legal.log_softmax(1).flatten(), legal.new_zeros(1)])
    longest = max(map(len, trie.paths))
    certain = len(flat) - 1
    places = [[branch * most + child for branch, child in path] for path in trie.paths]
    index = torch.tensor([[*path, *([certain] * (longest - len(path)))] for path in places], device=logits.device)
    return flat[index].sum(1) - torch.tensor(trie.shared, device=logits.device).log()


class LanguageScorer:
    """A language model as an `OptionScorer`. What every prompt begins with is read once.

    Args:
        base: the model with its adapter, and its tokenizer.
    """

    def __init__(self, base: LanguageBase) -> None:
        self._model = base.model
        self._encoder = Encoder(base.tokenizer, base.model.config)
        self._static: tuple[tuple[int, ...], Any] | None = None

    def logits(self, situation: Situation) -> Vector:
        """See `OptionScorer.logits`: they are logarithms of probabilities already."""
        import torch

        question = self._encoder.question(situation)
        with torch.inference_mode():
            known, cache = self._beginning(question.prompt)
            found = option_logs(self._model, question, known=known, cache=cache)
        return found.double().cpu().numpy().astype(np.float64)

    def _beginning(self, prompt: Sequence[int]) -> tuple[int, Any]:
        """How many of the prompt's first tokens are known, and a copy of their keys and values."""
        import torch

        if self._static is None:
            one, other = (self._encoder.prompt(text) for text in ("Trial 1", "x"))
            shared = next((place for place, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), 0)
            tokens = one[:shared]
            if tokens:
                self._static = tokens, self._model(input_ids=torch.tensor([tokens], device=self._model.device)).cache
            else:
                self._static = (), None
        tokens, cache = self._static
        fits = tokens and len(prompt) > len(tokens) and tuple(prompt[: len(tokens)]) == tokens
        return (len(tokens), copy.deepcopy(cache)) if fits else (0, None)
