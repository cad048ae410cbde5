"""What the rows of a campaign come to, kept up to date from trial to trial instead of being counted anew.

Everything that is shown or asked of the past comes from here: what was tried of each knob, the groups of failures, the
near misses in order, and what each incumbent had changed. Records are immutable, so a row that is the same object says
the same: bringing a digest up to date compares rows by identity and looks only at those that are new. Decided rows keep
their edit and status for good; when one does not, or a row comes in the middle, everything is counted again.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import compress, islice
from operator import is_not
from typing import Any

from pydantic import ValidationError

from memory.keep.near_misses import Weakness, is_candidate, lowest_gain, weakness
from memory.lineage.knob_record import KnobRecord
from memory.lineage.knobs import is_code_edit, knob_before, knobs_after
from memory.lineage.trial_text import edit_text, short
from memory.records import Campaign, Phase, Trial, TrialKind
from memory.statistics.noise import Noise
from rails.menu import KnobValue, Menu
from rails.status import FINISHED, QUARANTINED, Status

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SHAPE = ("status", "phase", "kind", "seq", "parent_trial_id", "edit", "edit_key", "hypothesis", "diff", "reason")
"""What a decided row keeps; the other columns are numbers that may be measured better."""

_EDITS_SHOWN = 6


@dataclass(slots=True)
class Failures:
    """Trials that failed in the same way: the same status, and the same reason but for its numbers."""

    trials: dict[int, Trial] = field(default_factory=dict[int, Trial])
    """By number, in order."""
    _edits: dict[str, None] = field(default_factory=dict[str, None])
    """What was changed, the newest last."""
    _line: str | None = None

    def add(self, trial: Trial) -> None:
        """Take note of one more, or again of one whose numbers have changed."""
        if trial.seq not in self.trials:
            edit = edit_text(trial)
            self._edits.pop(edit, None)
            self._edits[edit] = None
        self.trials[trial.seq] = trial
        self._line = None

    @property
    def last(self) -> Trial:
        """The newest."""
        return next(reversed(self.trials.values()))

    @property
    def line(self) -> str:
        """`crash x3: no memory (depth=12, depth=10)`: the reason of the newest, and the edits, newest first."""
        if self._line is None:
            more = f", … {len(self._edits) - _EDITS_SHOWN} more" if len(self._edits) > _EDITS_SHOWN else ""
            edits = ", ".join(islice(reversed(self._edits), _EDITS_SHOWN)) + more
            last = self.last
            self._line = f"{last.status} x{len(self.trials)}: {short(last.reason or '', 100)} ({edits})"
        return self._line


class Digest:
    """One campaign's decided trials that say something (not interrupted or aborted), counted by what they say.

    Args:
        menu: of the campaign's task; None where there is none that can be read.
    """

    def __init__(self, menu: Menu | None) -> None:
        self.menu = menu
        self._rows: list[Trial] = []
        self._spellings: dict[tuple[str, KnobValue, type], KnobValue] = {}
        self._clear()

    def _clear(self) -> None:
        self.trials: list[Trial] = []
        """By number."""
        self.by_id: dict[str, Trial] = {}
        self.baseline: Trial | None = None
        self.knobs: dict[str, KnobRecord] = {}
        self.failures: dict[tuple[str, str], Failures] = {}
        self.kept: list[int] = []
        """Numbers of the trials that were kept for a gain, in order."""
        self.simpler = 0
        """How many were kept as simpler."""
        self.code: list[int] = []
        """Numbers of the trials that changed code, in order."""
        self._places: dict[int, int] = {}
        self._weakest: list[Weakness] = []
        self._gains: list[float] = []
        self._overlays: dict[str, dict[str, KnobValue] | None] = {}
        self._starts: dict[str, KnobValue | None] = {}

    def update(self, rows: Sequence[Trial]) -> None:
        """Bring the digest up to date with all of the campaign's trials, by number; those in hand are passed over."""
        known, self._rows = self._rows, list(rows)
        changed = list(compress(range(len(known)), map(is_not, known, self._rows)))
        anew = len(self._rows) < len(known) or len(changed) > 100
        if anew or not all([self._replace(known[at], self._rows[at]) for at in changed]):
            self._clear()
            known = []
        for trial in self._rows[len(known) :]:
            if _says_something(trial):
                self._add(trial)

    def trial(self, seq: int) -> Trial:
        """The trial with this number; KeyError when it says nothing."""
        return self.trials[self._places[seq]]

    def near_misses(self, noise: Noise, limit: int) -> tuple[list[Trial], int]:
        """The best near misses, best evidence first, and how many there are; as `near_misses.near_misses`."""
        floor = lowest_gain(self.baseline.metric if self.baseline else None, noise)
        count = len(self._gains) - bisect_left(self._gains, floor)
        found: list[Trial] = []
        for key in self._weakest:
            if len(found) == min(limit, count):
                break
            trial = self.trial(key[-1])
            if trial.gain is not None and trial.gain >= floor:
                found.append(trial)
        return found, count

    def worst_failures(self, limit: int) -> list[Failures]:
        """The groups of failures, the most frequent first, then the newest."""
        return nlargest(limit, self.failures.values(), key=lambda group: (len(group.trials), group.last.seq))

    def since_keep(self) -> int:
        """How many trials came after the last keep, or after the baseline."""
        searched = len(self.trials) - (self.baseline is not None)
        return searched if not self.kept else len(self.trials) - 1 - self._places[self.kept[-1]]

    def chain(self, best: Trial | None) -> Iterator[Trial]:
        """The kept trials that `best` stands on, itself first."""
        current = best
        while current is not None and current.seq > 0:
            yield current
            parent = self.by_id.get(current.parent_trial_id or "")
            current = parent if parent is not None and parent.seq < current.seq else None

    def overlay(self, trial_id: str | None) -> Mapping[str, KnobValue] | None:
        """The knobs in which an incumbent differs from the start of the search; None for what was no incumbent."""
        waiting: list[Trial] = []
        while trial_id is not None and trial_id not in self._overlays:
            trial = self.by_id.get(trial_id)
            if trial is None or trial.status not in {Status.KEEP, Status.BASELINE}:
                self._overlays[trial_id] = None
                break
            if trial.kind is TrialKind.BASELINE:
                self._overlays[trial_id] = {}
                break
            if waiting and trial.seq >= waiting[-1].seq:
                break
            waiting.append(trial)
            trial_id = trial.parent_trial_id
        known = self._overlays.get(trial_id or "")
        for trial in reversed(waiting):
            known = None if known is None else {**known, **self.moves(trial)}
            self._overlays[trial.trial_id] = known
        return known

    def start(self, knob: str) -> KnobValue | None:
        """The value that a knob had at the start: what the first diff changed it from, or else the menu's default."""
        if knob not in self._starts:
            record = self.knobs.get(knob)
            before = None if record is None else knob_before(record.first, knob)
            if before is None and self.menu is not None and knob in self.menu.knobs:
                before = self.menu.knobs[knob].default
            self._starts[knob] = None if before is None else self.normalised(knob, before)
        return self._starts[knob]

    def standing(self, best: Trial | None) -> dict[str, KnobValue] | None:
        """Every knob of the menu as `best` has it; None when that cannot be told."""
        overlay = self.overlay(best.trial_id) if best is not None else None
        if self.menu is None or overlay is None:
            return None
        starts = {name: self.start(name) for name in self.menu.knobs}
        return {**{name: value for name, value in starts.items() if value is not None}, **overlay}

    def normalised(self, knob: str, value: KnobValue) -> KnobValue:
        """The one spelling of a value: as the menu has it, if it is on the menu."""
        key = knob, value, type(value)
        if key not in self._spellings:
            entry = self.menu.knobs.get(knob) if self.menu is not None else None
            fits = entry is not None and entry.check(value) is None
            self._spellings[key] = entry.normalise(value) if entry is not None and fits else value
        return self._spellings[key]

    def moves(self, trial: Trial) -> dict[str, KnobValue]:
        """The knobs that a trial changed; of what a diff of code changed, those that are on the menu."""
        menu = None if self.menu is None or not is_code_edit(trial) else self.menu.knobs
        found = knobs_after(trial).items()
        return {name: self.normalised(name, value) for name, value in found if menu is None or name in menu}

    def _replace(self, old: Trial, new: Trial) -> bool:
        """Take a row that has changed; False when everything is to be counted again."""
        if not _says_something(old):
            if _says_something(new):
                if self.trials and new.seq <= self.trials[-1].seq:
                    return False
                self._add(new)
            return True
        if any(getattr(old, name) != getattr(new, name) for name in _SHAPE):
            return False
        if is_candidate(old):
            del self._weakest[bisect_left(self._weakest, weakness(old))]
            del self._gains[bisect_left(self._gains, old.gain or 0.0)]
        self.trials[self._places[new.seq]] = new
        self._take(new)
        return True

    def _add(self, trial: Trial) -> None:
        self._places[trial.seq] = len(self.trials)
        self.trials.append(trial)
        if is_code_edit(trial):
            self.code.append(trial.seq)
        if trial.kept_as_simpler:
            self.simpler += 1
        elif trial.status is Status.KEEP:
            self.kept.append(trial.seq)
        if trial.status in {Status.KEEP, Status.BASELINE}:
            self._overlays.clear()
        self._take(trial)

    def _take(self, trial: Trial) -> None:
        """Enter a trial, or its new numbers, wherever it counts."""
        self.by_id[trial.trial_id] = trial
        if trial.kind is TrialKind.BASELINE:
            self.baseline = trial
        for name, value in self.moves(trial).items():
            if name not in self.knobs:
                self.knobs[name] = KnobRecord(name, trial)
                self._starts.pop(name, None)
            self.knobs[name].add(value, trial)
        if trial.status is not None and trial.status not in FINISHED:
            kind = trial.status, _NUMBER.sub("#", trial.reason or "")
            self.failures.setdefault(kind, Failures()).add(trial)
        if is_candidate(trial):
            insort(self._weakest, weakness(trial))
            insort(self._gains, trial.gain or 0.0)


def digest_of(campaign: Campaign, trials: Sequence[Trial]) -> Digest:
    """The digest of a campaign's trials, by number, counted from nothing."""
    digest = Digest(read_menu(campaign.task))
    digest.update(trials)
    return digest


def read_menu(task: Mapping[str, Any]) -> Menu | None:
    """The menu of a stored task; None where there is none, or one that this version cannot read."""
    menu = task.get("menu")
    if not isinstance(menu, Mapping):
        return None
    try:
        return Menu.model_validate({**menu, "size": menu.get("size", task.get("size"))})
    except ValidationError:
        return None


def _says_something(trial: Trial) -> bool:
    """Whether it belongs in the record that proposers see: decided, and not without a word on its hypothesis."""
    return trial.phase is Phase.DECIDED and trial.status not in QUARANTINED
