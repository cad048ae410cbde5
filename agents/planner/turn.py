"""One attempt at a proposal: what the nodes of the planner's graph do with one model, one context, one conversation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agents.base import KnobValue, NoReplyError, NoReplyKind, ProposalContext
from agents.model.config import ModelConfig
from agents.model.endpoint import Endpoint
from agents.model.forms import unwrapped
from agents.planner import critic
from agents.planner.conversation import Conversation, Learnt
from agents.planner.graph import Found, Turn
from agents.planner.moves import legal_moves
from agents.planner.prompts import Briefing, build_messages, lineage_tokens
from agents.planner.schema import reply_schema
from agents.planner.specialists import knobs_of, pick_specialist
from agents.planner.toolbox import (
    Action,
    answer_action,
    answer_tool_calls,
    assistant_message,
    build_toolbox,
    is_code,
    read_step,
)
from agents.texts import storable
from memory.records import CallRole
from rails.source.code_reply import FORM
from rails.text import clean_text, shorten
from tools.trajectory import Trajectory

MIN_LOOK_TOKENS = 600
"""Room that must be left before something is looked up."""

MAX_FOUND_SHARE = 0.5
"""Most of the room left that one answer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a search suggests: the moves that a model may choose from, and how they are told."""

    moves: Mapping[str, tuple[KnobValue, ...]]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be asked, with what is known of its endpoint."""

    endpoint: Endpoint
    config: ModelConfig
    learnt: Learnt


@dataclass(slots=True, kw_only=True)
class PlannerTurn(Turn):
    """The work of the planner's nodes on one attempt.

    Attributes:
        context: what is proposed for.
        model: who proposes.
        second: who criticises; None: nobody.
        trajectory: read access to the record.
        suggest: what a search suggests among a specialist's knobs; None: any move may be proposed.
        code: whether a change of the code may be proposed.
        draft: the raw proposal so far.
        specialist: who proposes; None: nobody in particular.
        lineage: the block that was shown.
        critique_row: what the critic said, as `Trial.critique` keeps it.
    """

    context: ProposalContext
    model: Model
    second: Model | None = None
    trajectory: Trajectory | None = None
    suggest: Callable[[tuple[str, ...]], Offer] | None = None
    code: bool = False
    draft: str = ""
    specialist: str | None = None
    lineage: str | None = None
    critique_row: dict[str, Any] | None = None
    wrote_code: bool = False
    _conversation: Conversation = field(init=False)
    _moves: dict[str, tuple[KnobValue, ...]] = field(init=False, default_factory=dict)
    _offer: Offer | None = field(init=False, default=None)
    _tools: tuple[BaseTool, ...] = field(init=False, default=())
    _asked: Action | AIMessage | None = field(init=False, default=None)
    _last_raw: str = field(init=False, default="")
    _critique: critic.Critique | None = field(init=False, default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the requests."""
        return tuple(self._conversation.notes)

    def pick_specialist(self) -> None:
        """Choose who proposes, list what may be proposed, and open the conversation.

        Raises:
            NoReplyError: nothing that is legal and new is left to propose.
        """
        context = self.context
        self.specialist = pick_specialist(context)
        if self.specialist:
            context.progress("specialist", self.specialist)
        if self.suggest is not None:
            self._offer = self.suggest(knobs_of(context, self.specialist))
            self._moves = dict(self._offer.moves)
        elif "knob" in context.task.edit.modes:
            self._moves = legal_moves(context, knobs_of(context, self.specialist))
        if not self._moves and not self.code:
            fix = "widen the menu in task.toml"
            raise NoReplyError("every legal move was tried", fix=fix, kind=NoReplyKind.USED_UP)
        if context.task.planner.steps:
            self._tools = build_toolbox(context, self.trajectory)
        self._conversation = Conversation(
            context, self.model.endpoint, self.model.config, self.model.learnt, self._opening
        )

    def act(self, steps: int) -> Found:
        """Ask for the next step; an announced change of the code is asked for at once."""
        may_look = self._may_look(steps)
        if may_look and self._conversation.learnt.native_tools and self._offer is None:
            found = self._act_with_tools()
            if found is not None:
                return found
        if not self._moves and not may_look:
            return self._write_code()
        tools = self._tools if may_look else ()
        step = self._ask(reply_schema(self._moves, tools, code=self.code))
        if is_code(step) and self.code:
            return self._write_code()
        if isinstance(step, Action) and may_look:
            self._asked = step
            return Found.LOOK_UP
        self.draft = step if isinstance(step, str) else self._last_raw
        return Found.DRAFT

    def look_up(self) -> None:
        """Answer what was asked for, in at most part of the room that is left."""
        asked, conversation = self._asked, self._conversation
        if isinstance(asked, AIMessage):
            self.context.progress("look up", ", ".join(call["name"] for call in asked.tool_calls))
            conversation.say(assistant_message(asked), *answer_tool_calls(asked, self._tools))
            return
        assert asked is not None
        self.context.progress("look up", clean_text(f"{asked.name} {asked.arguments or ''}", 120))
        left = max(0, conversation.room_tokens - conversation.used_tokens)
        answer = shorten(answer_action(asked, self._tools), max(200, int(3 * MAX_FOUND_SHARE * left)))
        conversation.say(
            {"role": "assistant", "content": storable(self._last_raw)},
            {"role": "user", "content": f"{asked.name} found:\n\n{answer}\n\nGo on: one JSON object, nothing else."},
        )

    def wants_critic(self) -> bool:
        """Whether there is a critic, and the draft is one that the rails would let pass."""
        return self.second is not None and self._spent_less_than_all() and self.context.check(self.draft) is None

    def critique(self) -> bool:
        """Ask the critic about the draft, in the planner's conversation where it is the same model."""
        assert self.second is not None
        self.context.progress("critic", "is asked")
        own = self.second is self.model
        conversation = self._conversation
        other = Conversation(self.context, self.second.endpoint, self.second.config, self.second.learnt, self._opening)
        if own:  # what it read of the same conversation need not be read again
            other.opening, other.tail = list(conversation.opening), list(conversation.tail)
        other.say(critic.question(self.context, self.draft))
        call = other.ask_reply(critic.schema_for(self.context), CallRole.CRITIC)
        conversation.tokens += other.tokens
        conversation.seconds += other.seconds
        conversation.notes += other.notes
        self._critique = critic.read_critique(self.context, call)
        self.critique_row = self._critique.row(self.draft, revised=False)
        return self._critique.objects

    def revise(self) -> None:
        """Tell the planner what the critic said, and take its other draft; a veto takes the move off the list."""
        assert self._critique is not None
        self.context.progress("revision", self._critique.reason)
        before = self.draft
        self._conversation.say({"role": "assistant", "content": storable(before)}, self._critique.told())
        if self._critique.verdict == "veto":
            self._strike(before)
        if self._moves:
            step = self._ask(reply_schema(self._moves))
            self.draft, self.wrote_code = step if isinstance(step, str) else self._last_raw, False
        else:
            self._write_code()
        self.critique_row = self._critique.row(before, revised=self.draft != before)

    def propose(self) -> None:
        """What stands is what is proposed."""
        self.draft = unwrapped(self.draft)

    def _opening(self, room_tokens: int) -> list[dict[str, Any]]:
        context = self.context
        self.lineage = context.lineage
        if context.lineage is not None and context.lineage_for is not None:
            limit = lineage_tokens(context, room_tokens)
            self.lineage = context.lineage_for(self.specialist, knobs_of(context, self.specialist), limit)
        briefing = Briefing(
            room_tokens=room_tokens,
            tools=self._tools,
            code=self.code,
            specialist=self.specialist,
            offer=self._offer.text if self._offer else "",
            lineage=self.lineage,
        )
        return build_messages(context, briefing)

    def _may_look(self, steps: int) -> bool:
        conversation = self._conversation
        room = conversation.room_tokens - conversation.used_tokens >= MIN_LOOK_TOKENS
        return bool(self._tools) and steps < self.context.task.planner.steps and room and self._spent_less_than_all()

    def _spent_less_than_all(self) -> bool:
        plan = self.context.task.planner
        return self._conversation.tokens < plan.tokens and self._conversation.seconds < plan.seconds

    def _act_with_tools(self) -> Found | None:
        """A step with tools of the protocol; None where a reply of the schema is to be asked for instead."""
        answered = self._conversation.ask_with_tools(self._tools)
        if answered is None:
            return None
        call, message = answered
        if message.tool_calls or message.invalid_tool_calls:
            self._asked = message
            return Found.LOOK_UP
        step = read_step(call.raw_reply or "")
        if isinstance(step, str) and self.context.check(step) is None:
            self.draft = step
            return Found.DRAFT
        return None

    def _ask(self, schema: dict[str, Any]) -> Action | str:
        call = self._conversation.ask_reply(schema)
        self._last_raw = call.raw_reply or ""
        return read_step(self._last_raw)

    def _write_code(self) -> Found:
        """Ask for the code itself, as plain text: wrapped in JSON models write worse code."""
        self.context.progress("code", "is written")
        if self._last_raw:
            self._conversation.say({"role": "assistant", "content": storable(self._last_raw)})
        self._conversation.say({"role": "user", "content": FORM})
        self.draft = self._conversation.ask_text().raw_reply or ""
        self.wrote_code = True
        return Found.DRAFT

    def _strike(self, draft: str) -> None:
        """Take a move off the list of those that may be proposed, unless it is the last one."""
        move = critic.draft_move(draft)
        if move is None:
            return
        knob, value = move
        left = {name: tuple(v for v in values if (name, v) != (knob, value)) for name, values in self._moves.items()}
        left = {name: values for name, values in left.items() if values}
        self._moves = left or self._moves
