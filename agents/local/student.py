"""A student as it lies in a folder: its card, and the weights beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.local.card import CARD, EMBEDDED, StudentCard, read_card, write_card
from agents.local.features import FEATURES
from agents.local.scorer import EmbeddedScorer, OptionScorer
from rails.errors import UserError


@dataclass(frozen=True, slots=True)
class Student:
    """A student that was loaded."""

    folder: Path
    card: StudentCard
    scorer: OptionScorer


def load_student(folder: Path) -> Student:
    """The student in a folder, ready to be asked.

    Raises:
        UserError: there is none, it is damaged, it was trained by another version, or the language model that it
            adapts, or the extra that loads one, is missing.
    """
    card = read_card(folder)
    if card.base != EMBEDDED:
        return Student(folder, card, _language_scorer(card.base, folder))
    if card.features != FEATURES:
        what = "the student was trained on other features than this version has"
        raise UserError(what, where=str(folder), fix="train it again: `nightshift distill train`")
    return Student(folder, card, EmbeddedScorer.load(folder))


def _language_scorer(base: str, folder: Path) -> OptionScorer:
    from agents.local.language_base import (
        LanguageBase,
        load_base,
        with_adapter,
    )  # here: only a language model needs them
    from agents.local.language_scorer import LanguageScorer

    loaded = load_base(base)
    adapted = with_adapter(loaded, folder).get_base_model().eval()
    return LanguageScorer(LanguageBase(loaded.name, adapted, loaded.tokenizer))


def save_embedded(folder: Path, weights: Mapping[str, Any], card: StudentCard) -> None:
    """Write an embedded student as one folder; the card last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    EmbeddedScorer(weights).save(folder)
    write_card(folder, card)
