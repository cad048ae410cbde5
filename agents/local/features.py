"""What a student sees of an option: 23 numbers, in each of which a knob's name and the task's scale are gone.

So what is learnt on one menu can be used on another: an option is a step of some length in some direction, on a knob
of which so much is known. Gains are in units of the campaign's own spread of gains.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.base import KnobValue
from agents.local.situation import Situation
from agents.statistical.history import Outcome
from rails.menu import Knob
from rails.scales import ends, is_decay, is_wide

Matrix = NDArray[np.float64]

Positions = Mapping[str, Callable[[KnobValue], float]]

FEATURES = (
    "step", "distance", "position", "log_rank", "unordered", "ranged", "menu_place",
    "log_tried_knob", "log_tried_side", "log_tried_value", "knob_untouched", "side_untouched",
    "mean_gain", "best_gain", "last_gain_side", "last_gain_other", "smoothed_gain", "smoothed_mass",
    "staleness", "kept_last", "near_miss", "budget_used", "share_untouched",
)  # fmt: skip
"""What each column is."""

MOST_OUTCOMES = 400
"""Only so many of the latest moves are looked at: a proposal of a long campaign costs no more."""

WIDTH = 0.15
"""Of the kernel that smooths gains over a knob's range."""

CLIP = 3.0
FAILED = -2.0
"""The gain of a failure, in units of the campaign's spread."""

UNKNOWN_LIMIT = 50


def gain_scale(outcomes: Sequence[Outcome]) -> float:
    """The spread of the gains so far (their root mean square); 1 before there is any."""
    gains = [outcome.gain for outcome in outcomes if outcome.gain is not None]
    return max(math.sqrt(sum(gain * gain for gain in gains) / len(gains)), 1e-9) if gains else 1.0


def scaled_gain(gain: float | None, scale: float) -> float:
    """A gain in units of the campaign's spread, clipped; a failure is a bad one."""
    return FAILED if gain is None else min(max(gain / scale, -CLIP), CLIP)


def positions(knob: Knob) -> Callable[[KnobValue], float]:
    """Where a value stands on a knob, from 0 to 1, on the scale that the knob is stepped on; 0.5 for text."""
    if knob.type == "str":
        return lambda value: 0.5
    if knob.choices is not None:
        ordered = sorted(float(choice) for choice in knob.choices if not isinstance(choice, str))
        steps = max(len(ordered) - 1, 1)
        return lambda value: bisect_left(ordered, float(value)) / steps
    scaled = _scale(knob)
    low, high = map(scaled, ends(knob))
    span = (high - low) or 1.0
    return lambda value: (scaled(float(value)) - low) / span


def _scale(knob: Knob) -> Callable[[float], float]:
    if is_decay(knob):
        return lambda value: -math.log(max(1 - value, 1e-9))
    return (lambda value: math.log(max(value, 1e-300))) if is_wide(knob) else (lambda value: value)


def featurise(situation: Situation) -> Matrix:
    """The features of every option, a row each in the order of `situation.options`."""
    names = list(situation.menu.knobs)
    place = {name: index for index, name in enumerate(names)}
    past = [outcome for outcome in situation.outcomes[-MOST_OUTCOMES:] if outcome.knob in place]
    where = {name: positions(knob) for name, knob in situation.menu.knobs.items()}
    static = _of_options(situation, where, place)
    knob, here, side, unordered = static[:4]
    columns = np.zeros((len(situation.options), len(FEATURES)))
    columns[:, :7] = static[4]
    untouched = 1 - len({outcome.knob for outcome in past}) / max(len(names), 1)
    columns[:, 21] = min((situation.seq - 1) / (situation.limit or max(UNKNOWN_LIMIT, situation.seq)), 1.0)
    columns[:, 22] = untouched
    columns[:, 10:12] = 1.0
    columns[:, 18] = 2.0
    if past:
        columns[:, 7:21] = _of_past(situation, past, where, place, (knob, here, side, unordered))
    return columns


def _of_options(
    situation: Situation, where: Positions, place: dict[str, int]
) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    """Knob, position and side of every option, whether its knob has an order, and the first seven columns."""
    knobs = situation.menu.knobs
    knob = np.array([place[name] for name, _ in situation.options], dtype=np.float64)
    here = np.array([where[name](value) for name, value in situation.options])
    start = {name: where[name](situation.knobs[name]) for name in {name for name, _ in situation.options}}
    step = here - np.array([start[name] for name, _ in situation.options])
    unordered = np.array([isinstance(value, str) for _, value in situation.options], dtype=np.float64)
    side = np.sign(step)
    same = (knob[:, None] == knob[None, :]) & (side[:, None] == side[None, :])
    rank = (same & (np.abs(step)[None, :] < np.abs(step)[:, None])).sum(1) + 1.0
    ranged = np.array([knobs[name].choices is None for name, _ in situation.options], dtype=np.float64)
    first = np.stack([step, np.abs(step), here, np.log(rank), unordered, ranged, knob / max(len(place) - 1, 1)], axis=1)
    return knob, here, side, unordered, first


def _of_past(
    situation: Situation,
    past: Sequence[Outcome],
    where: Positions,
    place: dict[str, int],
    option: tuple[Matrix, Matrix, Matrix, Matrix],
) -> Matrix:
    """Columns 7 to 20: what earlier moves say of every option."""
    knob, here, side, unordered = option
    scale = gain_scale(past)
    then = np.array([place[outcome.knob] for outcome in past], dtype=np.float64)
    there = np.array([where[outcome.knob](outcome.value) for outcome in past])
    moved = np.array([float(outcome.direction) for outcome in past])
    gain = np.array([scaled_gain(outcome.gain, scale) for outcome in past])
    kept = np.array([outcome.kept for outcome in past])
    on_knob = knob[:, None] == then[None, :]
    exact = on_knob & (np.abs(here[:, None] - there[None, :]) < 1e-9)
    for row in map(int, np.flatnonzero(unordered)):
        exact[row] = [(outcome.knob, outcome.value) == situation.options[row] for outcome in past]
    # Text has no direction: there, the same value is the same side, and another value the other one.
    on_side = np.where(unordered[:, None] > 0, exact, on_knob & (side[:, None] == moved[None, :]))
    other = on_knob & ~on_side
    near = on_knob * np.exp(-0.5 * np.square((here[:, None] - there[None, :]) / WIDTH))
    near = np.where(unordered[:, None] > 0, exact, near)
    count, mass = on_knob.sum(1), near.sum(1)
    last, last_side, last_other = (_last(mask) for mask in (on_knob, on_side, other))
    same_side = (last == last_side) & (last >= 0)
    last_gain = np.where(last >= 0, gain[last], 0.0)
    return np.stack(
        [
            np.log1p(count),
            np.log1p(on_side.sum(1)),
            np.log1p(exact.sum(1)),
            count == 0,
            on_side.sum(1) == 0,
            (on_knob @ gain) / np.maximum(count, 1),
            np.where(count > 0, np.where(on_knob, gain[None, :], -CLIP).max(1), 0.0),
            np.where(last_side >= 0, gain[last_side], 0.0),
            np.where(last_other >= 0, gain[last_other], 0.0),
            (near @ gain) / (mass + 0.5),
            np.log1p(mass),
            np.where(last >= 0, np.minimum((len(past) - last) / max(len(place), 1), 2.0), 2.0),
            same_side & kept[last],
            same_side & ~kept[last] & (last_gain > 0),
        ],
        axis=1,
    ).astype(np.float64)


def _last(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last column in which each row is true; -1 where none is."""
    found = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    return np.where(mask.any(1), found, -1)
