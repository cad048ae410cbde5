"""Wrapping of nodes: LangGraph drops misspelt keys in silence and does not check what a node returns; we do."""

import time
from collections.abc import Callable
from typing import Protocol

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from langgraph.types import Command

from graph.routes import AFTER
from graph.state import Node, Route, TrialState, Update
from memory.records import Span


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
