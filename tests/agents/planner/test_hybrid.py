"""A search that leads and a model that picks: whose idea a proposal was is said, and the search alone needs nobody."""

import json
from collections.abc import Callable
from pathlib import Path

from agents.base import ProposalContext
from agents.model.config import load_models
from agents.planner.hybrid import HybridProposer
from agents.planner.planner import Planner
from agents.statistical.proposers import TpeProposer
from memory.records import Origin
from rails.status import Status
from tests.support.chat_server import Answer, ChatServer, Received, ok
from tests.support.proposals import make_context, make_task, make_trial


def branches(request: Received) -> list[tuple[str, list[object]]]:
    schema = request.body["response_format"]["json_schema"]["schema"]
    found = schema.get("anyOf", [schema])
    knobs = [branch["properties"] for branch in found if "knob" in branch["properties"]]
    return [(knob["knob"]["const"], knob["new_value"]["enum"]) for knob in knobs if "new_value" in knob]


def picking(place: int) -> Callable[[Received], Answer]:
    def pick(request: Received) -> Answer:
        moves = [(knob, value) for knob, values in branches(request) for value in values]
        knob, value = moves[place]
        return ok(json.dumps({"knob": knob, "new_value": value, "reason": "it looks best"}))(request)

    return pick


def hybrid_at(server: ChatServer, folder: Path) -> HybridProposer:
    (folder / "models.toml").write_text(server.models_toml("local"))
    return HybridProposer(Planner("local", load_models(folder)["local"]))


def context(share: float, **fields: object) -> ProposalContext:
    planner = {"share": share, "steps": 0, "candidates": 3}
    return make_context(make_task(planner=planner, modes=("knob", "diff")), **fields)


def test_without_a_share_for_the_model_it_is_the_search_and_asks_nobody(tmp_path: Path) -> None:
    with ChatServer() as server:
        hybrid = hybrid_at(server, tmp_path)
        for trial in range(1, 6):
            asked = context(0.0, trial_seq=trial)
            assert hybrid.propose(asked).raw == TpeProposer().propose(asked).raw
        assert hybrid.name == "hybrid:local" and server.requests == []


def test_the_model_picks_one_of_the_search_s_best_moves(tmp_path: Path) -> None:
    asked = context(1.0)
    best = [(move.knob, move.value) for move in TpeProposer().best_moves(asked, 3)]
    with ChatServer([picking(0), picking(2)]) as server:
        hybrid = hybrid_at(server, tmp_path)
        first, other = hybrid.propose(asked), hybrid.propose(asked)
        offered = [(knob, value) for knob, values in branches(server.requests[0]) for value in values]
        assert offered == best and len(set(best)) == 3
        assert "1. " in server.requests[0].user_text and "it looks best" in first.raw
    assert (first.origin, other.origin) == (Origin.SEARCH, Origin.CHOICE)


def test_the_share_of_the_model_is_kept_and_the_same_for_every_attempt(tmp_path: Path) -> None:
    with ChatServer([picking(0)]) as server:
        hybrid = hybrid_at(server, tmp_path)
        for trial in range(1, 101):
            hybrid.propose(context(0.3, trial_seq=trial))
        asked = len(server.requests)
        for trial in range(1, 101):
            hybrid.propose(context(0.3, trial_seq=trial, attempt=1))
        assert len(server.requests) == 2 * asked
    assert 20 <= asked <= 40


def test_a_stuck_search_lets_the_model_write_code(tmp_path: Path) -> None:
    trials = tuple(make_trial(seq, "depth", 3, Status.DISCARD, -0.01) for seq in range(1, 14))
    announced = '{"action": "write_code", "idea": "drop the print"}'
    code = '{"hypothesis": "h", "reason": "r"}\n\n```diff\n-print(Knobs())\n```'
    with ChatServer([ok(announced), ok(code)]) as server:
        hybrid = hybrid_at(server, tmp_path)
        reply = hybrid.propose(context(1.0, trials=trials, trial_seq=14))
        assert "response_format" not in server.requests[1].body
        hybrid.propose(context(1.0, trials=trials[:3], trial_seq=14))
        schema = json.dumps(server.requests[-1].body["response_format"])
    assert (reply.origin, reply.raw) == (Origin.CODE, code)
    assert "write_code" not in schema


def test_a_specialist_is_offered_the_best_moves_on_its_knobs(tmp_path: Path) -> None:
    specialists = {"shape": {"focus": "the shape", "knobs": ["window", "head_dim"], "prompt": "Think of heads."}}
    task = make_task(planner={"share": 1.0, "steps": 0, "candidates": 3}, specialists=specialists)
    with ChatServer([picking(0)]) as server:
        reply = hybrid_at(server, tmp_path).propose(make_context(task))
        assert {knob for knob, _ in branches(server.requests[0])} == {"window", "head_dim"}
        assert "Think of heads." in server.requests[0].user_text
    assert reply.specialist == "shape"
