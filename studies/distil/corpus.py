"""A corpus: recorded choices of proposers, each with what could be chosen then, and what became of it.

The history of a choice is the choices before it in the same campaign; it is nowhere else. What is held out by time
lies behind all that is trained on, in another file, so no training example can know of it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from agents.base import KnobValue
from agents.statistical.history import Outcome
from rails.menu import Menu
from rails.status import QUARANTINED, Status

Pair = tuple[str, KnobValue]
"""A knob and a value."""


class NoTarget(StrEnum):
    """Why a choice teaches nothing: it is no legal single move from where it was made."""

    NOT_A_KNOB = "not_a_knob"
    """A change of the code, or no edit that was understood."""
    OFF_MENU = "off_menu"
    NO_OP = "no_op"
    """The value that the incumbent had already."""
    ILLEGAL = "illegal"
    """Against a rule of the menu, or too large."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Strict):
    """One decided trial as a choice."""

    campaign: int
    """Its place among the corpus's campaigns."""
    seq: int
    parent_seq: int
    """The trial that it was applied to; 0 is the baseline."""
    knobs: dict[str, KnobValue]
    """Of the program that it was applied to."""
    options: list[Pair]
    """What could legally be chosen then."""
    choice: Pair | None
    """What was chosen; None for anything but one knob."""
    target: int | None
    """The choice's place among the options, or that of the nearest value of its knob."""
    snapped: bool = False
    """Whether `target` is another value than was chosen."""
    no_target: NoTarget | None = None
    status: Status
    gain: float | None
    """Relative to the baseline, positive is better; None for a failure."""
    gain_low: float | None = None
    n_measurements: int = 0
    prompt: list[dict[str, Any]] | None = None
    """The messages that a model reads, or read then."""
    prompt_from: str
    """`call` where it is what was sent, else how it was rebuilt."""

    @property
    def kept(self) -> bool:
        """Whether the change was kept."""
        return self.status is Status.KEEP

    @property
    def after(self) -> dict[str, KnobValue]:
        """The knob setting that it led to."""
        return (
            self.knobs
            if self.choice is None or self.choice[0] not in self.knobs
            else {**self.knobs, self.choice[0]: self.choice[1]}
        )

    @property
    def outcome(self) -> Outcome | None:
        """What it brought, as the next choice's history shows it; None where it says nothing of its move."""
        silent = self.status in QUARANTINED or self.status is Status.RAIL_BLOCKED
        if self.choice is None or self.choice[0] not in self.knobs or silent:
            return None
        knob, value = self.choice
        return Outcome(self.seq, knob, self.knobs[knob], value, self.gain, self.kept)

    @property
    def confirmed_gain(self) -> float | None:
        """The gain where it was kept and its interval lies above zero; else None."""
        return self.gain if self.kept and self.gain_low is not None and self.gain_low > 0 else None


class CampaignCard(_Strict):
    """One campaign of a corpus."""

    source: str
    """As it was given."""
    campaign_id: str
    proposer: str
    menu: Menu
    baseline: str
    """`rolling` where kept changes stayed in, `fixed` where every change was applied to the first program."""
    size_limit_bytes: int | None = None
    limit: int | None = None
    """How many trials there were to be; None: not known."""
    split: str
    """`time`: its last trials are held out; `campaign`: all of it is."""
    fingerprint: str
    """Of choices and gains in order: the same campaign has the same in every format."""


@dataclass(kw_only=True)
class Corpus:
    """Campaigns and their choices."""

    campaigns: list[CampaignCard] = field(default_factory=list[CampaignCard])
    train: list[Example] = field(default_factory=list[Example])
    heldout: list[Example] = field(default_factory=list[Example])
