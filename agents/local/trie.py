"""Options as a trie of tokens: everything that has to be asked of a model to know the chances of all of them.

Options that begin alike share their tokens. Below the last token at which options part nothing is asked: what follows
is certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = -1
"""Instead of a node: the end of the prompt."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A place at which options part."""

    node: int
    """After which node; `ROOT` for the end of the prompt."""
    tokens: tuple[int, ...]
    """What may follow."""


@dataclass(frozen=True, slots=True)
class TokenTrie:
    """The tokens to ask a model about, and how they make up the options."""

    tokens: tuple[int, ...]
    """Of the nodes, parents before children."""
    parents: tuple[int, ...]
    """The node before each; `ROOT` for none."""
    depths: tuple[int, ...]
    """How many tokens after the prompt's end each stands; the first is 1."""
    branches: tuple[Branch, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]
    """Of each option: which child it takes at which of the branches that it passes."""
    shared: tuple[int, ...]
    """How many options read like each, itself included: they share its chance."""


def make_trie(sequences: Sequence[Sequence[int]]) -> TokenTrie:
    """The trie of options.

    Args:
        sequences: the tokens of each option with its terminator, so that none is the beginning of another.

    Raises:
        ValueError: an option has no tokens, or is the beginning of another.
    """
    children: dict[tuple[int, ...], dict[int, None]] = {}
    for sequence in sequences:
        if not sequence:
            raise ValueError("an option has no tokens")
        for place, token in enumerate(sequence):
            children.setdefault(tuple(sequence[:place]), {})[token] = None
    if any(tuple(sequence) in children for sequence in sequences):
        raise ValueError("an option is the beginning of another: the terminator belongs to it")
    parting = [prefix for prefix, tokens in children.items() if len(tokens) > 1]
    wanted = {prefix[:length] for prefix in parting for length in range(1, len(prefix) + 1)}
    order = sorted(wanted, key=len)
    node = {(): ROOT, **{prefix: place for place, prefix in enumerate(order)}}
    branches = tuple(Branch(node[prefix], tuple(children[prefix])) for prefix in parting)
    branch = {prefix: place for place, prefix in enumerate(parting)}
    child = [{token: place for place, token in enumerate(one.tokens)} for one in branches]
    whole = [tuple(sequence) for sequence in sequences]
    return TokenTrie(
        tokens=tuple(prefix[-1] for prefix in order),
        parents=tuple(node[prefix[:-1]] for prefix in order),
        depths=tuple(map(len, order)),
        branches=branches,
        paths=tuple(_path(sequence, branch, child) for sequence in whole),
        shared=tuple(whole.count(sequence) for sequence in whole),
    )


def _path(
    sequence: tuple[int, ...], branch: dict[tuple[int, ...], int], child: Sequence[dict[int, int]]
) -> tuple[tuple[int, int], ...]:
    passed = ((branch[sequence[:place]], token) for place, token in enumerate(sequence) if sequence[:place] in branch)
    return tuple((place, child[place][token]) for place, token in passed)
