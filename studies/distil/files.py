"""A corpus on disk: a folder with campaigns, two files of examples, and the card."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from memory.atomic import atomic_write_text
from rails.errors import UserError
from studies.distil.card import corpus_card
from studies.distil.corpus import CampaignCard, Corpus, Example

CAMPAIGNS, TRAIN, HELDOUT, CARD = "campaigns.json", "train.jsonl", "heldout.jsonl", "card.json"


def is_corpus(folder: Path) -> bool:
    """Whether a folder holds a corpus."""
    return all((folder / name).is_file() for name in (CAMPAIGNS, TRAIN, HELDOUT))


def write_corpus(folder: Path, corpus: Corpus) -> dict[str, Any]:
    """Write a corpus into a folder, which is made; an older one there is replaced. Returns its card."""
    folder.mkdir(parents=True, exist_ok=True)
    campaigns = json.dumps([card.model_dump(mode="json") for card in corpus.campaigns], ensure_ascii=False, indent=1)
    atomic_write_text(folder / CAMPAIGNS, campaigns + "\n")
    atomic_write_text(folder / TRAIN, _lines(corpus.train))
    atomic_write_text(folder / HELDOUT, _lines(corpus.heldout))
    card = {**corpus_card(corpus), "sha256": corpus_sha256(corpus)}
    atomic_write_text(folder / CARD, json.dumps(card, ensure_ascii=False, indent=2) + "\n")
    return card


def read_corpus(folder: Path) -> Corpus:
    """The corpus in a folder.

    Raises:
        UserError: there is none, or a file of it is damaged.
    """
    if not is_corpus(folder):
        fix = "make one: `nightshift distill corpus SOURCE… --out DIR`"
        raise UserError("there is no corpus here", where=str(folder), fix=fix)
    path = folder / CAMPAIGNS
    try:
        campaigns = [CampaignCard.model_validate(one) for one in json.loads(path.read_bytes())]
        path = folder / TRAIN
        train = _examples(path)
        path = folder / HELDOUT
        heldout = _examples(path)
    except (OSError, ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the corpus cannot be read ({first})", where=str(path), fix="make it again") from error
    return Corpus(campaigns=campaigns, train=train, heldout=heldout)


def corpus_sha256(corpus: Corpus) -> str:
    """The hash of what a corpus says: its examples and menus."""
    digest = sha256()
    for card in corpus.campaigns:
        digest.update(card.model_dump_json(exclude={"source"}).encode())
    digest.update(_lines(corpus.train).encode())
    digest.update(b"--\n")
    digest.update(_lines(corpus.heldout).encode())
    return digest.hexdigest()


def _lines(examples: Sequence[Example]) -> str:
    return "".join(example.model_dump_json() + "\n" for example in examples)


def _examples(path: Path) -> list[Example]:
    return [Example.model_validate_json(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
