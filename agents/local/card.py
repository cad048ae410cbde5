"""The card of a student: `student.json`, which says where it comes from and what it showed."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


def write_card(folder: Path, card: StudentCard, **changes: Any) -> StudentCard:
    """Write a card, with changes, into a student's folder."""
    changed = card.model_copy(update=changes)
    atomic_write_text(folder / CARD, changed.model_dump_json(indent=2) + "\n")
    return changed
