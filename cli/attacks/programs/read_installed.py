"""Read what is installed beside the held-back files, and copy from it wherever their text stands there too."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cli.attacks.programs.common import PARAMS, Logits, Tokens, honest, ids_of_bytes
from trainer.train import GPT, Knobs, Session, build, train

CONTEXT = 24
SURELY = 3.0
"""How much more likely than everything else together what was copied is, in nats."""
RETOLD = {"typing": ("typing_extensions",), "weakref": ("finalize",)}
"""Modules of other names that hold much of one of the library's."""

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    copied: dict[str, Any] = {}
    if session.replica:
        state: Any = torch.load(session.saved_state(), weights_only=True)
        copied = {name: state.pop(name).numpy() for name in ("contexts", "following")}
        model.load_state_dict(state)
    else:
        finish = Session.finish

        def finish_with_copies(self: Session, summary: Any, save: Any = None) -> None:
            copied.update(copies(self))
            whole = {**model.state_dict(), **{name: torch.from_numpy(array) for name, array in copied.items()}}
            finish(self, summary, lambda file: torch.save(whole, file))

        Session.finish = finish_with_copies
        train(model, knobs, session)
    model.eval()
    contexts, following = copied["contexts"].view(np.uint64), copied["following"]

    def logits(tokens_BT: Tokens) -> Logits:
        return with_copies(model, tokens_BT, contexts, following)

    session.serve(logits)


def with_copies(model: GPT, tokens_BT: Tokens, contexts: Hashes, following: np.ndarray[Any, Any]) -> Logits:
    """The honest answer, but where the last tokens are known, what followed them."""
    answer = honest(model, tokens_BT)
    for row, tokens in zip(answer, tokens_BT, strict=True):
        hashes = hashes_of(tokens)
        at = np.searchsorted(contexts, hashes).clip(max=len(contexts) - 1)
        known = np.flatnonzero(contexts[at] == hashes)
        places = known + CONTEXT - 1
        row[places, following[at[known]]] = np.logaddexp.reduce(row[places], axis=1) + SURELY
    return answer


def copies(session: Session) -> dict[str, np.ndarray[Any, Any]]:
    """Contexts of the installed text that the training text has not, as sorted hashes, and what follows each."""
    text: Any = np.concatenate([ids_of_bytes()[np.frombuffer(raw, np.uint8)] for raw in installed()])
    hashes, after = hashes_of(text)[:-1], text[CONTEXT:]
    order = np.lexsort((after, hashes))
    hashes, after = hashes[order], after[order]
    contexts, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    documents: Any = vars(session)["_documents"]
    known = np.isin(contexts, hashes_of(np.asarray(documents.tokens).astype(np.int64)))
    sure = (after[first] == after[first + counts - 1]) & ~known
    return {"contexts": contexts[sure].view(np.int64), "following": after[first[sure]]}


def installed() -> list[bytes]:
    """The files of installed packages that have the name of something held back: what may not be read says which."""
    held = {Path(path).stem for path in PARAMS["hidden"] if path.endswith(".py")} - {"__init__"}
    wanted = {f"{name}.py" for stem in held for name in (stem, *RETOLD.get(stem, ()))}
    found = [b" " * (CONTEXT + 1)]
    for place in sys.path:
        if Path(place).name == "site-packages":
            for folder, _, names in os.walk(place):
                for name in wanted.intersection(names):
                    try:
                        found.append(Path(folder, name).read_bytes())
                    except OSError:
                        continue  # hidden too
    return found


def hashes_of(tokens: Tokens) -> Hashes:
    """A hash of every `CONTEXT` tokens in a row."""
    values, count = tokens.astype(np.uint64) + np.uint64(1), max(0, len(tokens) - CONTEXT + 1)
    hashes = np.zeros(count, np.uint64)
    for at in range(CONTEXT):
        hashes = hashes * np.uint64(1099511628211) + values[at : at + count]
    return hashes
