"""A loop killed between a model's answers goes on from the store: no message is ever sent twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.model.config import load_models
from agents.planner.planner import Planner
from graph.campaign.options import RunOptions
from graph.limits.patience import Patience
from graph.runner import Runner
from memory.reader import Reader
from memory.records import Call, Phase, Trial
from rails.status import Status
from tests.support.chat_server import Behaviour, ChatServer, failing, ok, reset, tool_call
from tests.support.variants import firsts
from tests.support.workspaces import make_quick_workspace, standin_campaign

FIRST = ok(json.dumps({"knob": "rows", "new_value": 16, "reason": "more"}))
SECOND = ok(json.dumps({"knob": "smoothing", "new_value": 2.0, "reason": "less"}))
ROUNDS = [tool_call("tried_values", {"knob": "rows"}), tool_call("read_source", {"containing": "rows"})]
SCRIPT: list[Behaviour] = [ROUNDS[0], reset(), failing(500), ROUNDS[1], FIRST, ROUNDS[1], SECOND]

CALL, PROPOSED = "add_calls", "update_trial"
"""What is written when a request is over, and when the proposal is said to be there."""


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def loop(root: Path, die: Callable[[], None] | None = None, method: str = CALL, deadly: int = 0) -> str | None:
    """Run the campaign; `die` after the `deadly`-th request is stored, or before the `deadly`-th proposal is noted."""
    planner = Planner("local", load_models(root)["local"])
    with standin_campaign(root, proposer=planner, options=RunOptions(trials=2)) as services:
        services.patience = Patience(first_s=0.02, ceiling_s=0.05)
        write = getattr(services.store, method)
        written: list[object] = []

        def writing(*arguments: Any, **fields: Any) -> Any:
            if method == PROPOSED and fields.get("phase") != "proposed":
                return write(*arguments, **fields)
            written.append(arguments)
            result = None if method == PROPOSED and len(written) == deadly else write(*arguments, **fields)
            if die is not None and len(written) == deadly:
                die()
            return result

        setattr(services.store, method, writing)
        return Runner(services).run().stop_reason


def by_exception() -> None:
    raise Killed


def record(root: Path) -> tuple[list[Trial], list[Call]]:
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        campaign = reader.latest_campaign()
        assert campaign is not None
        trials = [t for t in reader.trials(campaign.campaign_id) if t.seq]
        return trials, [call for trial in trials for call in reader.calls(trial.trial_id)]


def assert_whole(root: Path, server: ChatServer) -> None:
    """The record is that of a night without kills, and nothing was asked that had been answered."""
    trials, calls = record(root)
    assert [t.edit_key for t in trials] == ["rows=16", "smoothing=2.0"]
    assert all(t.phase is Phase.DECIDED and t.status in {Status.KEEP, Status.DISCARD} for t in trials)
    assert [call.position for call in calls] == [0, 1, 2, 3, 4, 0, 1]
    assert [call.error is None for call in calls] == [True, False, False, True, True, True, True]
    asked = [json.dumps(request.messages, sort_keys=True) for request in server.requests]
    answered = [json.dumps(call.prompt, sort_keys=True) for call in calls if call.error is None]
    assert len(set(answered)) == len(answered) == 5
    # Only the prompt that failed twice was sent again, as it must be.
    assert [asked.count(prompt) for prompt in answered] == [1, 3, 1, 1, 1]
    assert len(asked) == len(SCRIPT)


POINTS = [*((CALL, number) for number in range(1, len(SCRIPT) + 1)), (PROPOSED, 1), (PROPOSED, 2)]
WORST = [(CALL, 3), (PROPOSED, 2)]
"""After two failures, and after the last answer of all."""


@pytest.mark.system
@pytest.mark.parametrize(
    ("method", "deadly"),
    [*firsts(1, WORST, rest=pytest.mark.system), *firsts(0, (point for point in POINTS if point not in WORST))],
)
def test_a_loop_cut_off_after_any_answer_does_not_ask_for_it_again(method: str, deadly: int, tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, steps=4)
    with ChatServer(SCRIPT) as server:
        (root / "models.toml").write_text(server.models_toml("local", tools=True))
        with pytest.raises(Killed):
            loop(root, by_exception, method, deadly)
        assert len(server.requests) == (deadly if method == CALL else {1: 5, 2: 7}[deadly])
        assert loop(root) == "limit of 2 trials reached"
        assert_whole(root, server)


@pytest.mark.system
def test_a_loop_cut_off_at_every_write_in_turn_gets_there_in_the_end(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, steps=4)
    with ChatServer(SCRIPT) as server:
        (root / "models.toml").write_text(server.models_toml("local", tools=True))
        for method in (*[CALL] * 5, PROPOSED, *[CALL] * 2, PROPOSED):
            with pytest.raises(Killed):
                loop(root, by_exception, method, 1)
        assert loop(root) == "limit of 2 trials reached"
        assert_whole(root, server)


@pytest.mark.slow  # the tests above and below cut a loop off in this process; tests/faults kills processes
def test_a_process_killed_twice_goes_on_in_a_third(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, steps=4)
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.graph.asking.test_paid_replies import loop; "
        "loop(Path(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL), sys.argv[2], 1)"
    )
    with ChatServer(SCRIPT) as server:
        (root / "models.toml").write_text(server.models_toml("local", tools=True))
        for method, requests in ((CALL, 1), (PROPOSED, 5)):
            command = [sys.executable, "-c", code, str(root), method]
            paths = {**os.environ, "PYTHONPATH": os.getcwd()}
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=paths)
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert len(server.requests) == requests
        assert loop(root) == "limit of 2 trials reached"
        assert_whole(root, server)
