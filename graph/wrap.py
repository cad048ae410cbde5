"""Wrapping of nodes: LangGraph drops misspelt keys in silence and does not check what a node returns; we do."""

import time
from collections.abc import Callable
from typing import Protocol

from graph.routes import AFTER
from graph.state import Node, Route, TrialState, Update
from memory.records import Span


class NodeFunction(Protocol):
    """A node: reads the state, does its work, and says what it found."""

    def __call__(self, state: TrialState) -> Update:
        """Work on the trial that `state` names."""
        ...


_KEYS = frozenset(Update.__annotations__)


class NodeContractError(Exception):
    """A node returned something that the graph's contract does not know: a bug in nightshift, never bad input."""


def check_update(node: Node, update: object) -> Update:
    """Return `update` if it is a valid partial state of `node`.

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
    return update  # type: ignore[return-value]  # keys and route were just checked


def wrap(node: Node, function: NodeFunction, record: Callable[[list[Span]], None]) -> NodeFunction:
    """A node that checks what `function` returns and records the seconds of each visit."""

    def wrapped(state: TrialState) -> Update:
        started = time.monotonic()
        update = check_update(node, function(state))
        seconds = time.monotonic() - started
        record([Span(trial_id=state["trial_id"], node=node, part="total", seconds=seconds)])
        return update

    wrapped.__name__ = str(node)
    return wrapped
