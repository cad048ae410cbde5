"""A student as it lies in a folder: `student.json`, which says where it comes from, and the weights beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.local.features import FEATURES
from agents.local.scorer import EmbeddedScorer, OptionScorer
from memory.atomic import atomic_write_text
from rails.errors import UserError

CARD = "student.json"
EMBEDDED = "embedded"
"""The base of a student that is no language model."""


class StudentCard(BaseModel):
    """Where a student comes from and what it showed when it was trained and promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    base: str
    """`embedded`, or the language model that was adapted."""
    objective: str
    seed: int
    corpus_sha256: str
    parent: str | None = None
    """The student that training started from."""
    temperature: float = Field(default=1.0, gt=0)
    """At which it is served."""
    features: tuple[str, ...] = ()
    """Of the embedded student: what it was trained to see, in order."""
    metrics: dict[str, Any] = {}
    """Of the training: rows, losses, seconds."""
    gates: list[dict[str, Any]] = []
    """What it had to pass to be promoted; empty before that."""
    created_at: datetime
    versions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Student:
    """A student that was loaded."""

    folder: Path
    card: StudentCard
    scorer: OptionScorer


def read_card(folder: Path) -> StudentCard:
    """The card in a student's folder.

    Raises:
        UserError: there is none, or it is not a student's card.
    """
    path = folder / CARD
    try:
        return StudentCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        fix = "train one: `nightshift distill train`"
        raise UserError("there is no student here", where=str(folder), fix=fix) from None
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the student's card cannot be read ({first})", where=str(path), fix="train it again") from None


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


def write_card(folder: Path, card: StudentCard, **changes: Any) -> StudentCard:
    """Write a card, with changes, into a student's folder."""
    changed = card.model_copy(update=changes)
    atomic_write_text(folder / CARD, changed.model_dump_json(indent=2) + "\n")
    return changed


def save_embedded(folder: Path, weights: Mapping[str, Any], card: StudentCard) -> None:
    """Write an embedded student as one folder; the card last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    EmbeddedScorer(weights).save(folder)
    write_card(folder, card)
