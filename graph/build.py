"""Assembles the state machine, and checks what its nodes return.

LangGraph drops misspelt keys in silence and does not look at what a node returns; we do. The picture in
docs/architecture.md is drawn from what this module compiles.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from graph.routes import AFTER, ENTRY, entry
from graph.state import Node, Route, TrialState, Update
from memory.records import Span
from rails.errors import UserError


class NodeFunction(Protocol):
    """A node: reads the state, does its work, and says what it found."""

    def __call__(self, state: TrialState) -> Update:
        """Work on the trial that `state` names."""
        ...


class Step(Protocol):
    """A node as LangGraph sees it: what it changes, and which node comes next."""

    def __call__(self, state: TrialState) -> Command[str]:
        """Work on the trial that `state` names."""
        ...


_KEYS = frozenset(Update.__annotations__)


class NodeContractError(Exception):
    """A node returned something that the graph's contract does not know: a bug in nightshift, never bad input."""


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


def studio_graph() -> CompiledStateGraph[TrialState, None, TrialState, TrialState]:
    """The graph as LangGraph's studio opens it (langgraph.json): to be looked at, without a workspace to run in."""

    def shown(state: TrialState) -> Update:
        raise UserError("here the graph is only shown", fix="`nightshift run DIR` runs it")

    return build_graph({node: shown for node in Node}, lambda span: None)


def draw() -> str:
    """The compiled graph as Mermaid text, without running or contacting anything."""
    return studio_graph().get_graph().draw_mermaid()


def check_update(node: Node, update: object) -> Route:
    """Where `update` leads, if it is a valid partial state of `node`.

    Raises:
        NodeContractError: not a dict, an unknown key, or a route that the node may not take.
    """
    if not isinstance(update, dict):
        raise NodeContractError(f"node {node} returned {type(update).__name__}, not a dict")
    if unknown := sorted(set(update) - _KEYS):
        raise NodeContractError(f"node {node} returned unknown keys {unknown}; it may set {sorted(_KEYS)}")
    route = update.get("route")
    if not isinstance(route, Route) or route not in AFTER[node]:
        raise NodeContractError(f"node {node} returned route {route!r}; it may return {[str(r) for r in AFTER[node]]}")
    return route


def wrap(node: Node, function: NodeFunction, record: Callable[[Span], None]) -> Step:
    """A node that checks what `function` returns, records the seconds of each visit, and goes on where that leads.

    It names the next node itself: a conditional edge after every node took LangGraph 1 ms more a trial.
    """

    def wrapped(state: TrialState) -> Command[str]:
        started = time.monotonic()
        update = function(state)
        route = check_update(node, update)
        seconds = time.monotonic() - started
        record(Span(trial_id=state["trial_id"], node=node, part="total", seconds=seconds))
        return Command(update=update, goto=str(AFTER[node][route]))

    wrapped.__name__ = str(node)
    return wrapped


if __name__ == "__main__":
    print(draw())
