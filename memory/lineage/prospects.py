"""What the past suggests: moves that nobody has tried yet and that some trial speaks for.

Everything here is a pure function of a digest and today's best. A move is suggested only where it is legal: on the
menu, and with every rule between knobs and the limit of size kept on today's best.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations as pairs_of
from typing import TypeAlias

from memory.lineage.digest import Digest
from memory.lineage.knob_record import KnobRecord
from memory.lineage.knobs import extremes_of, is_code_edit, knob_edit, middle, mirrored, side_of
from memory.records import Trial
from rails.expressions import ExpressionError
from rails.menu import Knob, KnobValue

WIDE_GAP = 0.1
"""A stretch of a range is wide from this share of it on."""

NEAREST = 16
"""So many near misses are combined: the pairs of weaker ones are hardly worth a training."""

Values: TypeAlias = Mapping[str, KnobValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One knob set to one value, and the trial that speaks for it."""

    trial: int
    knob: str
    value: KnobValue
    gain: float | None
    """What it brought there, relative to the baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Two near misses on different knobs that were never tried together."""

    first: Setting
    """The one with the better evidence."""
    second: Setting
    sum_of_gains: float
    """What both would bring together if each gain is true and they add up; relative to the baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opposite:
    """The other side of a move that lost for certain."""

    trial: int
    """The one that lost."""
    knob: str
    lost_at: KnobValue
    start: KnobValue
    """Where the knob stands, and stood when it was lost."""
    value: KnobValue
    """What to try."""
    gain: float
    gain_high: float
    """The upper end of the loss's interval: below zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One knob set to a value that speaks for itself: an end of its range, a gap, or where it was at the start."""

    knob: str
    current: KnobValue
    value: KnobValue
    trial: int | None = None
    """The kept trial that it would take back; None for none."""
    end: KnobValue | None = None
    """The other end of the stretch that it lies in; None for none."""


class Prospects:
    """Today's best and everything that was tried, to be asked for ideas.

    Args:
        digest: of the campaign's trials.
        best: the incumbent, or the baseline before the first keep; None before that.
        size_limit_bytes: the limit for the menu's size estimate when it states none.
    """

    def __init__(self, digest: Digest, best: Trial | None, *, size_limit_bytes: int | None = None) -> None:
        self._digest, self._best = digest, best
        self._size_limit_bytes = size_limit_bytes
        self.values: Values = digest.standing(best) or {}
        """Every knob as today's best has it; empty when the rows do not tell."""

    def combinations(self, near: Sequence[Trial], limit: int | None = None) -> list[Combination]:
        """Pairs of near misses that were never tried together and may be, on today's best.

        Both have a gain above none, and both knobs still stand where they stood when it was measured: otherwise part of
        the gain may be had already.

        Ordered by the chance that both are real (the product of their probabilities of being better; unknown last),
        then by the sum of their gains, then by age.

        Args:
            near: near misses, best evidence first; all but single-knob edits are passed over.
            limit: at most this many; None for all.
        """
        settings: dict[tuple[str, KnobValue], Trial] = {}
        for trial in near:
            edit = self._edit_on(trial)
            if edit is not None and (trial.gain or 0.0) > 0 and self._began_at(edit[0], self.values[edit[0]], trial):
                settings.setdefault(edit, trial)
        nearest = list(settings.items())[:NEAREST]
        companions = {edit: self._companions(*edit) for edit, _ in nearest}
        found: list[tuple[tuple[bool, float, float, int, int], Combination]] = []
        for (one, first), (other, second) in pairs_of(nearest, 2):
            tried = one in companions[other] or other in companions[one]
            if one[0] == other[0] or tried or not self._legal(dict([one, other])):
                continue
            made = Combination(
                first=_setting(first, one),
                second=_setting(second, other),
                sum_of_gains=(first.gain or 0.0) + (second.gain or 0.0),
            )
            found.append((_doubt(first, second, made), made))
        found.sort(key=lambda item: item[0])
        return [made for _, made in found[:limit]]

    def opposites(self, limit: int | None = None) -> list[Opposite]:
        """For each knob and side on which a move lost for certain: the first step to the other side, never tried.

        Only for numbers, as choices of text have no sides; and only where the knob still stands where the move began.
        The most certain loss comes first. A move that failed, or was cut short, has no interval and is no loss here.
        """
        found: list[Opposite] = []
        for name, record in self._digest.knobs.items():
            knob, current = self._on_menu(name)
            if knob is not None and current is not None:
                found += self._opposites_of(knob, current, record)
        found.sort(key=lambda idea: (idea.gain_high, idea.trial))
        return found[:limit]

    def retries(self, near: Sequence[Trial]) -> list[Trial]:
        """Near misses with a gain against an earlier incumbent that may be tried on today's best, each edit once."""
        found: dict[str | None, Trial] = {}
        for trial in near:
            if trial.edit_key not in found and (trial.gain or 0.0) > 0 and self.may_retry(trial):
                found[trial.edit_key] = trial
        return list(found.values())

    def may_retry(self, trial: Trial) -> bool:
        """Whether a trial was measured against an earlier incumbent, and may be tried on today's best.

        A knob must still stand where it stood then: a value that was near on the way from another one says little now.
        """
        if self._best is None or trial.parent_trial_id in {None, self._best.trial_id}:
            return False
        if is_code_edit(trial):
            kept = trial.edit_key in {t.edit_key for t in self._digest.chain(self._best)}
            since = (self._digest.trial(seq) for seq in self._digest.code[bisect_right(self._digest.code, trial.seq) :])
            again = any(t.edit_key == trial.edit_key and t.parent_trial_id == self._best.trial_id for t in since)
            return not kept and not again
        edit = self._edit_on(trial)
        if edit is None or self._tried_here(*edit) or not self._legal(dict([edit])):
            return False
        return self._began_at(edit[0], self.values[edit[0]], trial)

    def has(self, trial: Trial) -> bool:
        """Whether today's best has the one knob that a trial set as it was set there."""
        edit = knob_edit(trial)
        return edit is not None and edit[0] in self.values and self._edit_on(trial) is None

    def extremes(self) -> list[Change]:
        """Ends of a knob's range that were never tried, knobs that were never touched first.

        An end is passed over when the way there is known to be bad: a value between it and today's failed, was cut
        short, or lost for certain.
        """
        found = [change for name in self._menu_names() for change in self._extremes_of(name)]
        return sorted(found, key=lambda change: change.knob in self._digest.knobs)

    def gaps(self) -> list[Change]:
        """The middle of wide stretches beside today's values in which nothing was tried, the widest first.

        Only of knobs that were touched. A stretch reaches from today's value to the next one that was tried, or to the
        end of the range, and is wide when it takes `WIDE_GAP` of the range: in factors where that is stepped so.
        """
        found = [gap for name in self._menu_names() for gap in self._gaps_of(name)]
        return [change for _, change in sorted(found, key=lambda gap: -gap[0])]

    def removals(self) -> list[Change]:
        """Kept knobs back to where they were at the start, the rest as it is; oldest keep first.

        A single kept knob is left out: without it there is only the start.
        """
        overlay = self._digest.overlay(self._best.trial_id) if self._best is not None else None
        found: list[Change] = []
        for name, value in overlay.items() if overlay is not None and len(overlay) > 1 else ():
            start = self._digest.start(name)
            if start is None or start == value or not self._legal({name: start}) or self._tried_here(name, start):
                continue
            rest = {other: standing for other, standing in (overlay or {}).items() if other != name}
            if not self._was_program(rest):
                found.append(Change(knob=name, current=value, value=start, trial=self._kept_by(name)))
        return sorted(found, key=lambda change: change.trial or 0)

    def _edit_on(self, trial: Trial) -> tuple[str, KnobValue] | None:
        """A trial's single-knob edit, where it would change something today."""
        edit = knob_edit(trial)
        if edit is None:
            return None
        name, value = edit[0], self._digest.normalised(*edit)
        return (name, value) if name in self.values and self.values[name] != value else None

    def _legal(self, changes: Values) -> bool:
        """Whether today's best with these changes is on the menu, keeps its rules, and fits in memory."""
        menu = self._digest.menu
        if menu is None or not changes.keys() <= self.values.keys():
            return False
        if any(menu.knobs[name].check(value) is not None for name, value in changes.items() if name in menu.knobs):
            return False
        values = {**self.values, **changes}
        try:
            too_big = menu.size_problem(values, limit_bytes=self._size_limit_bytes)
            return too_big is None and menu.broken_rule(values) is None
        except ExpressionError:
            return False

    def _tried_here(self, name: str, value: KnobValue) -> bool:
        """Whether a knob was set to a value on today's best."""
        record, best = self._digest.knobs.get(name), self._best
        return record is not None and best is not None and best.trial_id in record.parents.get(value, ())

    def _was_program(self, overlay: Values) -> bool:
        """Whether a program with just these knobs changed was tried or kept; code is not looked at."""
        if overlay in self._kept_overlays:
            return True
        for name, value in overlay.items():
            record = self._digest.knobs.get(name)
            for parent in () if record is None else record.parents.get(value, ()):
                if {**(self._digest.overlay(parent) or {}), name: value} == overlay:
                    return True
        return False

    @cached_property
    def _kept_overlays(self) -> list[Values | None]:
        """The knobs in which each incumbent up to today's differs from the start."""
        return [self._digest.overlay(trial.trial_id) for trial in self._digest.chain(self._best)]

    def _tried(self, name: str, value: KnobValue) -> bool:
        """Whether a knob ever had a value, in a trial or at the start."""
        record = self._digest.knobs.get(name)
        return value == self._digest.start(name) or (record is not None and value in record.values)

    def _nearest(self, name: str, current: float) -> tuple[float | None, float | None]:
        """The numbers that a knob ever had which lie next below and above today's; None where there is none."""
        record, start = self._digest.knobs.get(name), self._digest.start(name)
        numbers = record.numbers if record is not None else []
        here = numbers[max(0, bisect_left(numbers, current) - 1) : bisect_right(numbers, current) + 1]
        near = [*here, start] if start is not None and not isinstance(start, str) else here
        below, above = [n for n in near if n < current], [n for n in near if n > current]
        return max(below, default=None), min(above, default=None)

    def _companions(self, name: str, value: KnobValue) -> set[tuple[str, KnobValue]]:
        """Every knob setting that some program had together with this one."""
        record = self._digest.knobs.get(name)
        if record is None:
            return set()
        beside = [self._digest.overlay(parent) or {} for parent in record.parents.get(value, ())]
        beside += [self._digest.moves(trial) for trial in record.code.get(value, {}).values()]
        return {item for values in beside for item in values.items()}

    def _on_menu(self, name: str) -> tuple[Knob | None, KnobValue | None]:
        menu = self._digest.menu
        return (menu.knobs.get(name) if menu is not None else None), self.values.get(name)

    def _menu_names(self) -> Iterator[str]:
        yield from self._digest.menu.knobs if self._digest.menu is not None else ()

    def _kept_by(self, name: str) -> int | None:
        for trial in self._digest.chain(self._best):
            if name in self._digest.moves(trial):
                return trial.seq
        return None

    def _opposites_of(self, knob: Knob, current: KnobValue, record: KnobRecord) -> Iterator[Opposite]:
        if isinstance(current, str):
            return
        below, above = self._nearest(knob.name, current)
        for side, opposite in ((+1, below), (-1, above)):
            if opposite is not None:
                continue  # that side was tried
            for lost_at, worst in record.losses:
                if side_of(lost_at, current) == side and self._began_at(knob.name, current, worst):
                    value = mirrored(knob, float(current), float(lost_at))
                    if value is not None and self._legal({knob.name: value}):
                        yield _opposite(worst, knob.name, (lost_at, current, value))
                    break

    def _began_at(self, name: str, current: KnobValue, trial: Trial) -> bool:
        """Whether a trial changed the knob from the value that it still has."""
        overlay = self._digest.overlay(trial.parent_trial_id)
        return overlay is not None and overlay.get(name, self._digest.start(name)) == current

    def _gaps_of(self, name: str) -> Iterator[tuple[float, Change]]:
        knob, current = self._on_menu(name)
        record = self._digest.knobs.get(name)
        if record is None or knob is None or knob.range is None or current is None or isinstance(current, str):
            return
        low, high = knob.range
        below, above = self._nearest(name, current)
        for end in (
            low if below is None or below < low else below,
            high if above is None or above > high else above,
        ):
            share, value = middle(knob, float(current), float(end))
            is_new = value not in {current, end} and not self._tried(name, value)
            if share >= WIDE_GAP and is_new and self._legal({name: value}):
                yield share, Change(knob=name, current=current, value=value, end=end)

    def _extremes_of(self, name: str) -> Iterator[Change]:
        knob, current = self._on_menu(name)
        if knob is None or current is None:
            return
        record = self._digest.knobs.get(name)
        for value in extremes_of(knob):
            blocked = record is not None and _known_bad(record, current, value)
            if value != current and not self._tried(name, value) and not blocked and self._legal({name: value}):
                yield Change(knob=name, current=current, value=value)


def _setting(trial: Trial, edit: tuple[str, KnobValue]) -> Setting:
    return Setting(trial=trial.seq, knob=edit[0], value=edit[1], gain=trial.gain)


def _doubt(first: Trial, second: Trial, made: Combination) -> tuple[bool, float, float, int, int]:
    """Sorts combinations: the likeliest first."""
    known = first.p_improve is not None and second.p_improve is not None
    chance = (first.p_improve or 0.0) * (second.p_improve or 0.0)
    return not known, -chance if known else 0.0, -made.sum_of_gains, first.seq, second.seq


def _opposite(loss: Trial, knob: str, values: tuple[KnobValue, KnobValue, KnobValue]) -> Opposite:
    lost_at, start, value = values
    return Opposite(
        trial=loss.seq,
        knob=knob,
        lost_at=lost_at,
        start=start,
        value=value,
        gain=loss.gain or 0.0,
        gain_high=loss.gain_high or 0.0,
    )


def _known_bad(record: KnobRecord, current: KnobValue, extreme: KnobValue) -> bool:
    """Whether a value on the way from today's to an extreme is known to be bad."""
    side, reach = side_of(extreme, current), record.bad_reach
    return side != 0 and reach is not None and side_of(reach[1 if side > 0 else 0], current) == side
