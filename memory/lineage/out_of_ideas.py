"""The section "When out of ideas": what the record suggests once nothing was kept for a while.

The order of kinds is that of the research loops that came before: combine near misses, try them again, go the other
way, go to the extremes, take something out, fill the gaps of a sweep.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from memory.lineage.budget import Section
from memory.lineage.prospects import Change, Combination, Opposite, Setting
from memory.lineage.rows import LineageRows
from memory.lineage.trial_text import edit_text, percent, short
from memory.records import Trial

Idea = TypeVar("Idea", Change, Opposite)

COMBINATIONS_SHOWN = 3
RETRIES_SHOWN = 2
OPPOSITES_SHOWN = 3
EXTREMES_SHOWN = 4
REMOVALS_SHOWN = 3
GAPS_SHOWN = 3
SHOWN_TO_ONE = 3
"""Ideas that one specialist is told."""


def out_of_ideas(rows: LineageRows) -> Section:
    """Concrete suggestions, one of each kind first; no lines while the search is not stuck.

    Pairs are suggested only where one diff may change both knobs: a proposal in the one-knob form cannot.
    """
    kinds = [list(kind) for kind in _kinds(rows)] if rows.is_stuck else []
    lines = [line for kind in kinds for line in kind]
    ranked = sorted((place, number) for number, kind in enumerate(kinds) for place in range(len(kind)))
    starts = [sum(map(len, kinds[:number])) for number in range(len(kinds))]
    order = [starts[number] + place for place, number in ranked]
    if rows.view is not None:  # each has ideas of its own, which are read anew in every proposal
        chosen = sorted(order[:SHOWN_TO_ONE])
        lines, order = [lines[index] for index in chosen], [chosen.index(index) for index in order[:SHOWN_TO_ONE]]
    return Section(
        title=f"When out of ideas: {rows.digest.since_keep()} trials without a keep",
        priority=2,
        lines=lines,
        order=order,
        least=5,
        enough=8,
    )


def _kinds(rows: LineageRows) -> Iterator[Sequence[str]]:
    near, prospects, with_code = rows.near[0], rows.prospects, "diff" in rows.modes
    if with_code:
        yield [_together(pair) for pair in prospects.combinations(near, COMBINATIONS_SHOWN)]
    yield [_again(trial) for trial in islice(prospects.retries(near), RETRIES_SHOWN)]
    if "knob" in rows.modes or with_code:
        yield [_other_way(idea) for idea in _reached(rows, prospects.opposites(), OPPOSITES_SHOWN)]
    yield [_bold(rows, change) for change in _reached(rows, prospects.extremes(), EXTREMES_SHOWN)]
    yield [_take_back(change) for change in _reached(rows, prospects.removals(), REMOVALS_SHOWN)]
    yield [_in_between(change) for change in _reached(rows, prospects.gaps(), GAPS_SHOWN)]
    if with_code:
        yield _code(rows)


def _reached(rows: LineageRows, ideas: Iterable[Idea], limit: int) -> Iterator[Idea]:
    """The first ideas on knobs that the reader may change."""
    return islice((idea for idea in ideas if rows.reaches(idea.knob)), limit)


def _together(pair: Combination) -> str:
    total = f"{percent(pair.sum_of_gains)} % if both gains are true and add up"
    return f"- together, in one diff: {_setting(pair.first)} and {_setting(pair.second)}; {total}"


def _setting(setting: Setting) -> str:
    gain = "" if setting.gain is None else f", {percent(setting.gain)} %"
    return f"{_move(setting.knob, setting.value)} (trial {setting.trial}{gain})"


def _again(trial: Trial) -> str:
    gain = "" if trial.gain is None else f", {percent(trial.gain)} % on an earlier best"
    return f"- again, on today's best: {edit_text(trial)} (trial {trial.seq}{gain})"


def _other_way(idea: Opposite) -> str:
    lost = f"{short(idea.lost_at, 30)} lost for certain in trial {idea.trial}: {percent(idea.gain)} %"
    return f"- the other way: {_move(idea.knob, idea.value)} ({lost}; it stands at {short(idea.start, 30)})"


def _bold(rows: LineageRows, change: Change) -> str:
    why = "a value never tried" if change.knob in rows.digest.knobs else "a knob never touched"
    return f"- boldly: {_move(change.knob, change.value)} ({why}; it stands at {short(change.current, 30)})"


def _in_between(change: Change) -> str:
    ends = sorted(number for number in (change.current, change.end) if isinstance(number, int | float))
    between = " and ".join(short(end, 30) for end in ends)
    stands = f"it stands at {short(change.current, 30)}"
    return f"- in between: {_move(change.knob, change.value)} (nothing was tried between {between}; {stands})"


def _take_back(change: Change) -> str:
    kept = "" if change.trial is None else f" (kept as {short(change.current, 30)} in trial {change.trial})"
    return f"- without it: {_move(change.knob, change.value)} as at the start, the rest as it is{kept}"


def _code(rows: LineageRows) -> list[str]:
    """What only a change of code can do: take out the last code that was kept, or do what no knob does."""
    kept = next((trial for trial in rows.digest.chain(rows.best) if (trial.edit or {}).get("kind") == "diff"), None)
    removal = [] if kept is None else [f"- without it: take out what trial {kept.seq} added, {edit_text(kept)}"]
    return [*removal, "- in the code: remove a part that may not earn its time, or change what no knob reaches"]


def _move(knob: str, value: object) -> str:
    return f"{short(knob, 40)}={short(value, 30)}"
