"""What a planner looks up before it proposes, by native calls or JSON actions: exact names, bounded, on record."""

import json
from pathlib import Path

from agents.base import ProposalContext
from agents.model.config import load_models
from agents.planner.planner import Planner
from memory.keep.near_misses import NearMiss
from memory.reader import QueryResult
from rails.errors import UserError
from rails.status import Status
from tests.support.chat_server import GOOD, Answer, Behaviour, ChatServer, Received, failing, ok, tool_call
from tests.support.proposals import make_context as plain_context
from tests.support.proposals import make_task, make_trial
from tests.support.transcripts import noted
from tools.trajectory import Ideas, Trajectory

TRIALS = (make_trial(1, "depth", 3, Status.DISCARD, -0.02), make_trial(2, "depth", 1, Status.KEEP, 0.016))

ROUNDS = 3
TASK = make_task(modes=("knob", "diff"), planner={"steps": ROUNDS})


def make_context(**fields: object) -> ProposalContext:
    return plain_context(TASK, **{"lineage": "# Lineage", **fields})


def no_query(sql: str) -> QueryResult:
    if not sql.startswith("SELECT"):
        raise UserError("the record can only be read")
    return QueryResult(["n"], [[2]])


TRAJECTORY = Trajectory(
    near_misses=lambda limit: [
        NearMiss(trial=9, edit="width=64", gain=0.002, gain_low=None, gain_high=None, p_improve=0.7)
    ],
    ideas=lambda limit: Ideas(combinations=(), opposites=()),
    query=no_query,
)


def planner_at(server: ChatServer, folder: Path, trajectory: Trajectory | None = TRAJECTORY) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local", tools=True))
    return Planner("local", load_models(folder)["local"], trajectory=trajectory)


def last_tool_answer(server: ChatServer) -> str:
    return server.requests[-1].messages[-1]["content"]


def test_tools_are_offered_and_answered(tmp_path: Path) -> None:
    script = [tool_call("tried_values", {"knob": "depth"}), tool_call("near_misses", {}, content="Let me see."), ok()]
    with ChatServer(script) as server:
        reply, calls = noted(planner_at(server, tmp_path), make_context(trials=TRIALS))
    assert reply.raw == GOOD
    assert len(calls) == 3
    offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
    assert offered == [
        "tried_values",
        "show_trial",
        "near_misses",
        "ideas",
        "query",
        "read_source",
        "estimate_size",
        "check",
    ]
    assert [message["role"] for message in server.requests[2].messages] == [
        "system",
        "user",
        *("assistant", "tool") * 2,
    ]
    first, second = (server.requests[at].messages[-1]["content"] for at in (1, 2))
    assert first.splitlines()[1:] == ["1 | 3 | discard | -0.02 | -", "2 | 1 | keep | 0.016 | -"]
    assert "9 | width=64 | 0.002" in second
    assert calls[0].raw_reply == '{"tool_calls": [{"name": "tried_values", "args": {"knob": "depth"}}]}'
    assert calls[2].prompt == server.requests[2].messages


def test_the_rounds_end(tmp_path: Path) -> None:
    def stubborn(request: Received) -> Answer:
        offered = "tools" in request.body
        return (tool_call("read_source", {"containing": "depth"}) if offered else ok())(request)

    with ChatServer([stubborn]) as server:
        reply, calls = noted(planner_at(server, tmp_path), make_context())
    assert reply.raw == GOOD
    assert len(calls) == ROUNDS + 1
    assert server.requests[-1].body["response_format"]["type"] == "json_schema"
    assert "depth: int = 2" in last_tool_answer(server)


def test_only_exact_names_are_called(tmp_path: Path) -> None:
    for name in ("near_misses_", "near", "Near_Misses", "read_source2", "exec", "query "):
        with ChatServer([tool_call(name, {}), ok()]) as server:
            reply = planner_at(server, tmp_path).propose(make_context())
            assert reply.raw == GOOD
            assert last_tool_answer(server).startswith("there is no tool ")


def test_bad_arguments_are_answered_not_raised(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, object] | str, str]] = [
        ("query", {"sql": "DROP TABLE trials"}, "not answered: the record can only be read"),
        ("query", {}, "not answered: 1 validation error"),
        ("near_misses", {"limit": "many"}, "not answered: 1 validation error"),
        ("near_misses", '{"limit": ', "not called: the arguments are not JSON"),
        (
            "estimate_size",
            {"knob": "depht", "new_value": 3},
            "not allowed: there is no knob 'depht' (did you mean 'depth'?)",
        ),
        ("read_source", {"first_line": 10_000}, "there are only lines 1 to"),
    ]
    for name, arguments, answer in cases:
        with ChatServer([tool_call(name, arguments), ok()]) as server:
            assert planner_at(server, tmp_path).propose(make_context()).raw == GOOD
            assert last_tool_answer(server).startswith(answer), (name, arguments)


def many_calls(count: int) -> Behaviour:
    def behave(request: Received) -> Answer:
        one = json.loads(tool_call("tried_values", {"knob": "depth"})(request).body)
        calls = one["choices"][0]["message"]["tool_calls"]
        one["choices"][0]["message"]["tool_calls"] = [{**calls[0], "id": f"call_{at}"} for at in range(count)]
        return Answer(body=json.dumps(one).encode())

    return behave


def test_every_call_is_answered_but_few_are_made(tmp_path: Path) -> None:
    with ChatServer([many_calls(50), ok()]) as server:
        planner_at(server, tmp_path).propose(make_context())
    answers = [message for message in server.requests[1].messages if message["role"] == "tool"]
    assert [answer["tool_call_id"] for answer in answers] == [f"call_{at}" for at in range(50)]
    assert sum(answer["content"] == "never tried" for answer in answers) == 4


def test_an_endpoint_without_tools_is_asked_without(tmp_path: Path) -> None:
    def refuses(request: Received) -> Answer:
        return (failing(400, "tool choice requires a parser") if "tools" in request.body else ok())(request)

    with ChatServer([refuses]) as server:
        planner = planner_at(server, tmp_path)
        (first, first_calls), (second, second_calls) = (noted(planner, make_context()) for _ in range(2))
    assert first.raw == second.raw == GOOD
    assert (len(first_calls), len(second_calls)) == (2, 1)
    assert len(server.requests[1].messages) == 2


def test_without_a_trajectory_only_the_context_is_readable(tmp_path: Path) -> None:
    with ChatServer([ok()]) as server:
        planner_at(server, tmp_path, None).propose(make_context())
    offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
    assert offered == ["tried_values", "show_trial", "read_source", "estimate_size", "check"]


def step(**action: object) -> Behaviour:
    return ok(json.dumps(action))


def test_json_actions_are_answered_in_turn_by_models_that_know_no_tools(tmp_path: Path) -> None:
    script = [
        step(action="tried_values", knob="depth"),
        step(action="show_trial", trial=2),
        step(action="no_such_action"),
        ok(),
    ]
    with ChatServer(script) as server:
        (tmp_path / "models.toml").write_text(server.models_toml("local"))
        planner = Planner("local", load_models(tmp_path)["local"], trajectory=TRAJECTORY)
        reply, calls = noted(planner, make_context(trials=TRIALS))
        assert reply.raw == GOOD and len(calls) == 4
        found = [request.messages[-1]["content"] for request in server.requests[1:]]
        schemas = [request.body["response_format"]["json_schema"]["schema"]["anyOf"] for request in server.requests]
    assert "2 | 1 | keep | 0.016 | -" in found[0]
    assert "trial 2: depth=1, keep, gain +0.0160" in found[1]
    assert "there is no tool 'no_such_action'" in found[2]
    actions = [{branch["properties"].get("action", {}).get("const") for branch in schema} for schema in schemas]
    assert actions[0] == {None, "tried_values", "show_trial", "near_misses", "ideas", "query", "read_source"} | {
        "estimate_size",
        "check",
        "write_code",
    }
    assert actions[-1] == {None, "write_code"}  # the rounds are used up


def test_check_answers_with_the_reasons_of_the_rails(tmp_path: Path) -> None:
    with ChatServer([step(action="check", knob="depth", new_value=99), ok()]) as server:
        (tmp_path / "models.toml").write_text(server.models_toml("local"))
        planner = Planner("local", load_models(tmp_path)["local"])
        planner.propose(make_context(check=lambda raw: "depth = 99: from 1 to 8" if "99" in raw else None))
        assert "refused: depth = 99: from 1 to 8" in server.requests[1].messages[-1]["content"]


def test_tokens_and_seconds_end_the_looking_up(tmp_path: Path) -> None:
    with ChatServer([step(action="tried_values", knob="depth"), ok()]) as server:
        (tmp_path / "models.toml").write_text(server.models_toml("local"))
        planner = Planner("local", load_models(tmp_path)["local"])
        task = make_task(planner={"steps": 9, "tokens": 500})
        script = [ok('{"action": "check", "knob": "depth", "new_value": 3}', usage=(490, 20)), ok()]
        server.script(script)
        planner.propose(plain_context(task, lineage="# Lineage"))
        last = server.requests[-1].body["response_format"]["json_schema"]["schema"]["anyOf"]
    assert all("knob" in branch["properties"] and "action" not in branch["properties"] for branch in last)
