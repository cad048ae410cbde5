"""The planner's graph: drawn by the code that compiles it, bounded, and small enough to be forgotten beside a model."""

import json
from pathlib import Path

from agents.planner.graph import build_planner_graph, draw

ROOT = Path(__file__).resolve().parents[3]


def test_the_picture_in_the_docs_is_the_compiled_graph() -> None:
    page = (ROOT / "docs" / "planner.md").read_text()
    assert f"```mermaid\n{draw().strip()}\n```" in page, "run `python -m agents.planner.graph`"


def test_every_node_leads_on_to_a_proposal() -> None:
    edges = {(edge.source, edge.target) for edge in build_planner_graph().get_graph().edges}
    assert ("act", "look_up") in edges and ("look_up", "act") in edges
    assert {target for source, target in edges if source == "critique"} == {"revise", "propose"}
    assert {target for source, target in edges if source == "revise"} == {"propose"}  # once, and no second opinion


def test_both_graphs_open_in_the_studio() -> None:
    graphs = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
    assert set(graphs) == {"trial", "planner"}
