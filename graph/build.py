"""Assemble the state machine. Its picture in docs/architecture.md is drawn from what this module compiles."""

from collections.abc import Callable, Mapping

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graph.routes import AFTER, ENTRY, entry
from graph.state import Node, Route, TrialState, Update
from graph.wrap import NodeFunction, wrap
from memory.records import Span


def build_graph(
    nodes: Mapping[Node, NodeFunction], record: Callable[[Span], None]
) -> CompiledStateGraph[TrialState, None, TrialState, TrialState]:
    """Compile the graph of one trial.

    Args:
        nodes: the five node functions.
        record: takes the seconds of each node visit.
    """
    graph = StateGraph(TrialState)
    for node in Node:
        targets = {str(target): str(found) for found, target in AFTER[node].items()}
        graph.add_node(node, wrap(node, nodes[node], record), destinations=targets)
    graph.add_conditional_edges(START, entry, {kind: str(ENTRY[kind]) for kind in ENTRY})
    return graph.compile()


def draw() -> str:
    """The compiled graph as Mermaid text, without running or contacting anything."""

    def unused(state: TrialState) -> Update:
        return {"route": Route.RECORDED}

    return build_graph({node: unused for node in Node}, lambda span: None).get_graph().draw_mermaid()


if __name__ == "__main__":
    print(draw())
