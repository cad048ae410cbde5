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
        UserError: there is none, it is damaged, or it was trained by another version.
    """
    card = read_card(folder)
    if card.base != EMBEDDED:
        what = f"a student on {card.base} cannot be served by this version"
        raise UserError(what, where=str(folder), fix="use a student with the base `embedded`")
    if card.features != FEATURES:
        what = "the student was trained on other features than this version has"
        raise UserError(what, where=str(folder), fix="train it again: `nightshift distill train`")
    return Student(folder, card, EmbeddedScorer.load(folder))


def save_embedded(folder: Path, weights: Mapping[str, Any], card: StudentCard) -> None:
    """Write an embedded student as one folder; the card last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    EmbeddedScorer(weights).save(folder)
    write_card(folder, card)
