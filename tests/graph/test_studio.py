"""langgraph.json: every graph that it names can be opened as LangGraph's studio does, without a workspace."""

import importlib.util
import json
from pathlib import Path

import pytest
from langgraph.graph.state import CompiledStateGraph

from graph.state import Node, initial_state
from rails.errors import UserError
from tests.support.rows import make_campaign, make_trial

ROOT = Path(__file__).resolve().parents[2]
TARGETS: dict[str, str] = json.loads((ROOT / "langgraph.json").read_text())["graphs"]


def opened(target: str) -> CompiledStateGraph:  # pyright: ignore[reportMissingTypeArgument]
    path, _, name = target.partition(":")
    spec = importlib.util.spec_from_file_location("studio_graph_module", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, name)()
    assert isinstance(made, CompiledStateGraph)
    return made


@pytest.mark.parametrize("name", TARGETS)
def test_each_graph_compiles(name: str) -> None:
    assert opened(TARGETS[name]).get_graph().draw_mermaid()


def test_the_trials_graph_has_the_five_roles_and_runs_nothing() -> None:
    graph = opened(TARGETS["trial"])
    assert set(Node) <= set(graph.get_graph().nodes)
    with pytest.raises(UserError, match="here the graph is only shown"):
        graph.invoke(initial_state(make_trial(make_campaign(), 1)))
