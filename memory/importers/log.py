"""What every importer makes: a log as records of our own, and a list of the lines that it could not read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from hashlib import file_digest
from pathlib import Path

from memory.figures.analysis import TrialRow, Unreadable
from memory.record_set import RecordSet
from memory.records import Campaign

UNKNOWN = "unknown"
"""In place of an isolation level or a proposer that a log does not tell."""

IMPORTED = "imported"
"""In place of a machine and of a keep rule."""

_NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_-]+")
_TAG_LIMIT = 60


class LogFormat(StrEnum):
    """The formats that are recognised, by what a file holds."""

    JSONL = "nightshift JSONL"
    PARQUET = "nightshift Parquet"
    RESULTS_TSV = "five-column results.tsv"
    LINEAGE_TSV = "lineage results.tsv"
    MENU_LOOP = "menu-loop JSONL"


class RowError(ValueError):
    """A line that cannot be read as a trial; its text is the reason."""


@dataclass(kw_only=True)
class Log:
    """A log that was read, and everything that a person should know about the reading."""

    format: LogFormat
    campaign: Campaign
    rows: list[TrialRow]
    """Its trials by number: what an analysis needs."""
    make: Callable[[Campaign], RecordSet]
    """Makes the records of this campaign, which are dearer than rows."""
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    notes: list[str] = field(default_factory=list[str])
    """What had to be assumed, in sentences."""

    @cached_property
    def records(self) -> RecordSet:
        """Everything that the log tells, as records of our own."""
        return self.make(self.campaign)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The file that is read."""

    path: Path
    sha256: str
    modified_at: datetime
    """Stands in for times that a log does not tell."""

    @classmethod
    def of(cls, path: Path) -> "Origin":
        """The origin of a file.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        return cls(path=path, sha256=digest, modified_at=datetime.fromtimestamp(int(path.stat().st_mtime), UTC))

    @property
    def tag(self) -> str:
        """A campaign's tag of the file's name."""
        return _NOT_IN_A_TAG.sub("-", self.path.stem).strip("-_")[:_TAG_LIMIT] or "log"
