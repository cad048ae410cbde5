"""The short prompt of a student that is a language model, and how one option reads as its answer.

The menu is not in it: whoever scores options gets them one by one.
"""

import json
from collections.abc import Mapping, Sequence

from agents.base import KnobValue
from agents.local.situation import Option, Situation
from agents.statistical.history import Outcome
from rails.menu import Menu
from rails.text import clean_text

LAST_SHOWN = 5
"""Moves of the history that the prompt shows."""


def short_prompt(menu: Menu, knobs: Mapping[str, KnobValue], outcomes: Sequence[Outcome], seq: int) -> str:
    """Where the incumbent differs from the menu's defaults, and the last moves.

    Args:
        menu: for its defaults.
        knobs: the incumbent's values.
        outcomes: what was tried before.
        seq: the number of the trial.
    """
    defaults = menu.defaults()
    changed = {name: value for name, value in knobs.items() if defaults.get(name, value) != value}
    lines = [
        f"{option_text((outcome.knob, outcome.value))} {_result(outcome.gain, outcome.kept)}"
        for outcome in outcomes[-LAST_SHOWN:]
    ]
    start = ", ".join(map(option_text, changed.items())) or "the defaults"
    return "\n".join([f"Trial {seq}. Program: {start}.", *lines, "Next change:"])


def situation_prompt(situation: Situation) -> str:
    """The short prompt of a situation: in a campaign the same as in training."""
    return short_prompt(situation.menu, situation.knobs, situation.outcomes, situation.seq)


def option_text(option: Option) -> str:
    """An option as the model writes it: `knob=value`."""
    name, value = option
    return f"{name}={clean_text(value, 60) if isinstance(value, str) else json.dumps(value)}"


def _result(gain: float | None, kept: bool) -> str:
    if gain is None:
        return "failed"
    return f"{100 * gain:+.2f} % {'kept' if kept else 'no'}"
