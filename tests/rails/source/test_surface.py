"""A person's script and task must fit together before a campaign starts."""

import pytest

from rails.errors import UserError
from rails.source.surface import check_surface
from rails.task import task_of
from tests.support.reply_corpus import MENU_FILE, corpus_source

TASK = task_of(
    {
        "name": "gpt",
        "budget": {"kind": "steps", "amount": 10},
        "menu": {key: MENU_FILE[key] for key in ("knobs", "cross_constraints")},
    }
)
SOURCE = corpus_source()


def test_a_script_and_task_that_agree_pass() -> None:
    check_surface(TASK, SOURCE, "train.py")
    check_surface(TASK, SOURCE.replace("n_layer: int = 24", "n_layer: int = 8"), "train.py")
    check_surface(TASK, SOURCE.replace("    lr:", "    other: bool = True\n    lr:"), "train.py")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("    n_layer: int", "    n_layers: int", "knob n_layer is in the menu .* \\(did you mean 'n_layers'\\?\\)"),
        ("n_layer: int = 24", "n_layer: int = 2", r"n_layer = 2: a whole number from 4 to 48"),
        ("n_layer: int = 24", "n_layer: float = 24.0", "n_layer = 24.0: a whole number"),
        ("n_head: int = 16", "n_head: int = 3", "d_model % n_head == 0 does not hold"),
        ("class Knobs", "class Config", "there is no class Knobs at the top level"),
        ("def schedule(", "def schedule((", "not valid Python"),
    ],
)
def test_a_script_that_does_not_fit_is_named_before_the_night(old: str, new: str, reason: str) -> None:
    assert old in SOURCE
    with pytest.raises(UserError, match=reason) as caught:
        check_surface(TASK, SOURCE.replace(old, new, 1), "/night/train.py")
    assert str(caught.value).startswith("/night/train.py: ")
    assert caught.value.fix
