"""What a check of a proposal is given, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rails.menu import Menu
from rails.proposal import Proposal
from rails.status import Status

RAILS = ("schema", "menu", "range", "cross", "diff", "novelty", "size", "outside")
"""The rails, in the order in which they judge. The names are stable: they are stored and printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RailContext:
    """What a proposal is judged against."""

    menu: Menu
    source: str | None
    """The incumbent's training script; None to check against the menu alone (the knobs are then its defaults)."""
    file_name: str = "train.py"
    class_name: str = "Knobs"
    modes: tuple[str, ...] = ("knob", "diff")
    """The allowed forms of a proposal."""
    tried: Mapping[str, str] = field(default_factory=dict[str, str])
    """What became of the programs tried before (`trial 7: discard, 1.7512`), by program key and by idea key; by edit
    key when there is no source."""
    max_diff_lines: int = 80
    size_limit_bytes: int | None = None
    """Memory limit of a trial, for a size rule without a limit of its own."""
    novelty: bool = True
    """Whether a program that was tried before is refused. One that changes nothing is refused always."""
    outside: Callable[[Mapping[str, Any]], str | None] | None = None
    """Why a program with these knobs cannot be measured at all, or None; None where whatever the menu allows can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RailVerdict:
    """What one rail said."""

    rail: str
    ok: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of a check. Fields are filled as far as the rails got."""

    ok: bool
    proposal: Proposal | None
    """Set once form, knob and value are allowed: everything in it but the text of an edit of code is then safe to
    show. Of an edit of code that applied it holds the unified diff, of another one the text as it was given."""
    candidate_source: str | None
    edit_key: str | None
    program_key: str | None
    idea_key: str | None
    diff: str | None
    """Unified diff of the candidate against the incumbent."""
    verdicts: tuple[RailVerdict, ...]
    """In the order of `RAILS`, up to the first failure. A rail that could not or need not judge is left out."""
    rail: str | None
    """The rail that failed."""
    reason: str | None


def blocked_status(rail: str) -> Status:
    """The status of a trial whose proposal a rail blocked."""
    return Status.SIZE_BLOCKED if rail == "size" else Status.RAIL_BLOCKED
