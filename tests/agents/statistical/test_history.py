"""How the statistical proposers see a trial whose training was cut short."""

from agents.statistical.design import next_design_move
from agents.statistical.history import History, Outcome, read_history, worst_gain
from agents.statistical.moves import MoveSpace
from agents.statistical.parzen import tpe_moves
from agents.statistical.proposers import _design_reason  # pyright: ignore[reportPrivateUsage]
from memory.records import Phase
from rails.menu import Menu
from rails.status import Status
from tests.support.rows import make_campaign, make_trial

MENU = Menu.model_validate({"knobs": {"depth": {"type": "int", "range": [1, 8], "default": 4, "doc": "blocks"}}})


def history() -> History:
    trial = make_trial(
        make_campaign(),
        1,
        phase=Phase.DECIDED,
        status=Status.DISCARD,
        reason="hopeless at 40 %: too far behind",
        decision={"checkpoint": 0.4},
        edit={"kind": "knob", "knob": "depth", "value": 5},
        edit_key="depth=5",
    )
    return read_history([trial], MENU, {"depth": 4})


def test_a_stopped_trial_is_no_failure_and_worse_than_what_finished() -> None:
    (outcome,) = history().outcomes
    assert (outcome.gain, outcome.kept, outcome.stopped) == (None, False, True)
    finished = Outcome(2, "depth", 4, 3, -0.3, kept=False)
    assert worst_gain([outcome, finished]) < -0.3


def test_the_design_turns_round_and_says_why() -> None:
    space = MoveSpace(MENU, {"depth": 4})
    designed = next_design_move(space, history(), frozenset(space.neighbours("depth")), seed=0)
    assert designed is not None
    assert designed.move.value == 3
    assert "depth=5 in trial 1 was hopeless" in _design_reason(designed)


def test_the_estimator_takes_it_as_a_bad_move() -> None:
    assert len(list(tpe_moves(MoveSpace(MENU, {"depth": 4}), history(), 0, 3))) == 3
