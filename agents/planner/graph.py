"""The planner as a LangGraph state machine inside `propose`: one run is one attempt at a proposal.

    pick_specialist → act ⇄ look_up → critique → (revise once) → propose

`act` asks the model for its next step: an action that looks something up, the announcement of a change of the code, or
a proposal. Rounds, tokens and seconds are bounded: when one is used up, only a proposal is asked for. The picture in
docs/planner.md is drawn from what this module compiles.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypedDict

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

RECURSION_LIMIT = 100
"""Node visits of one attempt; the bounds of task.toml end it long before."""


class Found(StrEnum):
    """What a step of the planner turned out to be."""

    LOOK_UP = "look_up"
    """An action that looks something up."""
    DRAFT = "draft"
    """A proposal."""


class PlannerState(TypedDict):
    """One attempt on its way through the planner's graph; what was said is in the attempt's `Turn`."""

    steps: int
    """Things looked up so far."""


class Turn(ABC):
    """The work of the nodes on one attempt."""

    @abstractmethod
    def pick_specialist(self) -> None:
        """Choose who proposes, and open the conversation."""

    @abstractmethod
    def act(self, steps: int) -> Found:
        """Ask for the next step, after so many things looked up."""

    @abstractmethod
    def look_up(self) -> None:
        """Answer the action that was asked for."""

    @abstractmethod
    def wants_critic(self) -> bool:
        """Whether the draft is to be shown to a critic."""

    @abstractmethod
    def critique(self) -> bool:
        """Ask the critic; whether it objects."""

    @abstractmethod
    def revise(self) -> None:
        """Tell the planner what the critic said, and ask for another draft."""

    @abstractmethod
    def propose(self) -> None:
        """Settle what is proposed."""


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What LangGraph hands to every node of one run."""

    turn: Turn


PlannerGraph = CompiledStateGraph[PlannerState, TurnContext, PlannerState, PlannerState]
_After = Command[Literal["look_up", "critique", "propose"]]


def _pick_specialist(state: PlannerState, runtime: Runtime[TurnContext]) -> PlannerState:
    runtime.context.turn.pick_specialist()
    return state


def _act(state: PlannerState, runtime: Runtime[TurnContext]) -> _After:
    turn = runtime.context.turn
    if turn.act(state["steps"]) is Found.LOOK_UP:
        return Command(goto="look_up")
    return Command(goto="critique" if turn.wants_critic() else "propose")


def _look_up(state: PlannerState, runtime: Runtime[TurnContext]) -> PlannerState:
    runtime.context.turn.look_up()
    return {"steps": state["steps"] + 1}


def _critique(state: PlannerState, runtime: Runtime[TurnContext]) -> Command[Literal["revise", "propose"]]:
    return Command(goto="revise" if runtime.context.turn.critique() else "propose")


def _revise(state: PlannerState, runtime: Runtime[TurnContext]) -> PlannerState:
    runtime.context.turn.revise()
    return state


def _propose(state: PlannerState, runtime: Runtime[TurnContext]) -> PlannerState:
    runtime.context.turn.propose()
    return state


def build_planner_graph() -> PlannerGraph:
    """Compile the planner's graph."""
    graph = StateGraph[PlannerState, TurnContext, PlannerState, PlannerState](PlannerState, context_schema=TurnContext)
    graph.add_node("pick_specialist", _pick_specialist)
    graph.add_node("act", _act)
    graph.add_node("look_up", _look_up)
    graph.add_node("critique", _critique)
    graph.add_node("revise", _revise)
    graph.add_node("propose", _propose)
    graph.add_edge(START, "pick_specialist")
    graph.add_edge("pick_specialist", "act")
    graph.add_edge("look_up", "act")
    graph.add_edge("revise", "propose")
    graph.add_edge("propose", END)
    return graph.compile()


def draw() -> str:
    """The compiled graph as Mermaid text."""
    return build_planner_graph().get_graph().draw_mermaid()


if __name__ == "__main__":
    print(draw())
