"""The start-up design: which knob is tried when, and which way, where nothing has shown yet."""

from pathlib import Path

import pytest

from agents.statistical.design import next_design_move
from agents.statistical.history import History, Outcome
from agents.statistical.moves import Move, MoveSpace, config_key
from rails.task import load_task
from trainer.tasks.gpt import PROFILES, render_task_toml


def looked_at(folder: Path, moves: int, seed: int) -> tuple[MoveSpace, list[Move]]:
    """The moves of a campaign in which every one is a little worse, and the later ones less so."""
    (folder / "task.toml").write_text(render_task_toml(PROFILES["cpu"]), encoding="utf-8")
    menu = load_task(folder / "task.toml").menu
    space, found = MoveSpace(menu, menu.defaults()), list[Move]()
    for _ in range(moves):
        outcomes = [
            Outcome(seq, move.knob, space.current(move.knob), move.value, -0.002 + 1e-6 * seq, kept=False)
            for seq, move in enumerate(found)
        ]
        history = History(tuple(outcomes), frozenset({config_key(menu.defaults())}))
        allowed = frozenset(move for name in space.names for move in space.neighbours(name, 2)) - set(found)
        designed = next_design_move(space, history, allowed, seed)
        if designed is None:
            break
        found.append(designed.move)
    return space, found


@pytest.mark.system
def test_the_upper_knobs_are_tried_both_ways_before_the_last_are_touched(tmp_path: Path) -> None:
    for seed in range(3):
        space, moves = looked_at(tmp_path, 60, seed)
        touched = [move.knob for move in moves]
        assert set(touched[:20]) & set(space.names[:8]) == set(space.names[:8])
        last = max(touched.index(name) for name in space.names)
        for name in space.names[:5]:
            sides = {move.direction for move in space.neighbours(name)}
            assert {move.direction for move in moves[:last] if move.knob == name} == sides
