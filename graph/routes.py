"""Which node follows which finding. The whole control flow of a trial is in these two tables."""

from typing import Final

from langgraph.graph import END

from graph.state import Node, Route, TrialState
from memory.records import TrialKind

AFTER: Final[dict[Node, dict[Route, str]]] = {
    Node.PROPOSE: {Route.PROPOSED: Node.CHECK_RAILS},
    Node.CHECK_RAILS: {Route.PASSED: Node.TRAIN, Route.CORRECT: Node.PROPOSE, Route.BLOCKED: Node.CURATE},
    Node.TRAIN: {Route.TRAINED: Node.EVALUATE, Route.HOPELESS: Node.CURATE},
    Node.EVALUATE: {Route.MEASURE: Node.TRAIN, Route.REPAIR: Node.PROPOSE, Route.DECIDED: Node.CURATE},
    Node.CURATE: {Route.RECORDED: END},
}
"""For each node, the routes it may return and where each leads."""

ENTRY: Final[dict[TrialKind, Node]] = {TrialKind.SEARCH: Node.PROPOSE, TrialKind.BASELINE: Node.TRAIN}
"""Where a trial enters: the baseline has nothing to propose."""


def entry(state: TrialState) -> TrialKind:
    """The kind of trial, for the edge out of START."""
    return state["kind"]
