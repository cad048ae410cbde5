"""The graph's contract: routes are total, updates are checked, and the picture in the documentation is the real one."""

from pathlib import Path
from typing import cast

import pytest

from graph.build import NodeContractError, NodeFunction, build_graph, check_update, draw, wrap
from graph.routes import AFTER
from graph.state import Node, Route, TrialState, Update, initial_state
from memory.records import Phase, Span, Trial, TrialKind, utc_now

ROOT = Path(__file__).resolve().parents[2]


def state_of(kind: TrialKind) -> TrialState:
    trial = Trial(trial_id="t", campaign_id="c", seq=1, kind=kind, phase=Phase.OPENED, created_at=utc_now())
    return initial_state(trial)


def test_every_route_is_taken_by_some_node_and_every_node_has_routes() -> None:
    assert set(AFTER) == set(Node)
    assert {route for routes in AFTER.values() for route in routes} == set(Route)


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        ({"route": Route.PROPOSED, "atempt": 1}, "atempt"),
        ({"attempt": 1}, "route None"),
        ({"route": Route.DECIDED}, "it may return"),
        ({"route": "proposed!"}, "it may return"),
        (None, "NoneType"),
    ],
)
def test_a_node_that_breaks_the_contract_is_an_error(update: object, complaint: str) -> None:
    with pytest.raises(NodeContractError, match=complaint):
        check_update(Node.PROPOSE, update)


def test_a_misspelt_key_stops_the_graph_instead_of_vanishing() -> None:
    def misspelt(state: TrialState) -> Update:
        return cast("Update", {"route": Route.PROPOSED, "atempt": 1})

    graph = build_graph({node: misspelt for node in Node}, lambda span: None)
    with pytest.raises(NodeContractError, match="atempt"):
        graph.invoke(state_of(TrialKind.SEARCH))


def test_each_visit_leaves_a_span() -> None:
    spans: list[Span] = []
    node = wrap(Node.TRAIN, lambda state: {"route": Route.TRAINED}, spans.append)
    found = node(state_of(TrialKind.SEARCH))
    assert (found.update, found.goto) == ({"route": Route.TRAINED}, "evaluate")
    assert [(s.trial_id, s.node, s.part) for s in spans] == [("t", "train", "total")]


def test_a_baseline_enters_at_train_and_a_search_at_propose() -> None:
    visited: list[str] = []

    def make(node: Node) -> NodeFunction:
        def visit(state: TrialState) -> Update:
            visited.append(node)
            last = {Node.PROPOSE: Route.PROPOSED, Node.CHECK_RAILS: Route.BLOCKED, Node.TRAIN: Route.TRAINED}
            return {"route": last.get(node, Route.DECIDED if node is Node.EVALUATE else Route.RECORDED)}

        return visit

    graph = build_graph({node: make(node) for node in Node}, lambda span: None)
    graph.invoke(state_of(TrialKind.BASELINE))
    assert visited == ["train", "evaluate", "curate"]
    visited.clear()
    graph.invoke(state_of(TrialKind.SEARCH))
    assert visited == ["propose", "check_rails", "curate"]


def test_the_documented_picture_is_drawn_from_the_compiled_graph() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert draw().strip() in text, "run `python -m graph.build` and paste it into docs/architecture.md"
