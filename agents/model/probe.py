"""What an endpoint really does, found out by asking it: reply forms, tools, context and speed.

Servers take a request and serve less: a schema is accepted and not enforced, tools are dropped by a template that knows
none, a prompt that is too long is cut. So every question here is one whose answer tells. It may cost money: there are
at most nine requests, bounded together in tokens and in seconds.
"""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from langchain_core.tools import BaseTool, tool

from agents.base import NoReplyError, NoReplyKind
from agents.model.config import MIN_CONTEXT_TOKENS, ModelConfig
from agents.model.context_probe import ContextFinding, Reading, probe_context
from agents.model.endpoint import Endpoint, Request, RequestRejectedError
from agents.model.forms import FORMS, ReplyForm, reply_format_of, unwrapped
from agents.transcript import CallInfo

LIMIT_S = 180.0
"""For all questions together."""
ANSWER_TOKENS = 256
"""Room for an answer whose form matters; a model that thinks aloud needs most of it for that."""
SPEED_TOKENS = 64
"""Length of the answer that is timed."""

_CHOICES: dict[str, list[int]] = {"amber": [11, 12], "cobalt": [21, 22], "olive": [31, 32]}
_OFF_TOPIC = "Describe the sea in one short sentence, as plain text or as JSON."
"""Says nothing of the schema, so that only a server that enforces it answers by it. (JSON mode wants the word said.)"""


class Verdict(StrEnum):
    """How an endpoint served one kind of request."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    """It was accepted, and the answer shows nothing of it."""
    REFUSED = "refused"
    """The endpoint will not serve such a request (HTTP 400 or 422)."""
    UNKNOWN = "unknown"
    """There was no answer, none that tells, or no time left to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """What was found."""

    problem: str | None
    """Why there was no answer at all, with the way out; None when it answers. Then nothing else was asked."""
    reply_forms: dict[ReplyForm, Verdict] = field(default_factory=dict[ReplyForm, Verdict])
    tools: Verdict = Verdict.UNKNOWN
    """Whether it calls a tool that it is told to call."""
    context: ContextFinding | None = None
    prompt_tokens_per_s: float | None = None
    reply_tokens_per_s: float | None = None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    """None when models.toml states no price, or the endpoint reports no usage."""
    seconds: float
    changes: dict[str, str | bool | int | float]
    """Keys of the model's entry in models.toml that should be set otherwise, with their values."""

    @property
    def answers(self) -> bool:
        """Whether there is anybody."""
        return self.problem is None


def probe_endpoint(config: ModelConfig, *, limit_s: float = LIMIT_S) -> EndpointReport:
    """Ask the endpoint what it can do.

    Args:
        config: the model's entry in models.toml.
        limit_s: after this many seconds nothing more is asked; the request in flight is given up.

    Raises:
        UserError: the key's environment variable is not set.
    """
    asking = _Asking(config, time.monotonic() + limit_s)
    try:
        empty_tokens = asking.greet()
        reply_rate = asking.reply_tokens_per_s()
    except (NoReplyError, RequestRejectedError) as error:
        return asking.report(problem=str(error))
    forms: dict[ReplyForm, Verdict] = {form: asking.form(form) for form in FORMS if form != "text"}
    tools = asking.tools()
    context, prompt_rate = probe_context(asking.read, empty_tokens, config.context_tokens, asking.seconds_left)
    return asking.report(
        reply_forms={**forms, "text": Verdict.HONOURED},
        tools=tools,
        context=context,
        prompt_tokens_per_s=prompt_rate,
        reply_tokens_per_s=reply_rate,
        changes=_changes(config, forms, tools, context, (prompt_rate, reply_rate)),
    )


def choice_schema() -> dict[str, Any]:
    """One of three: a union at the root, each branch a name with the values that go with it."""
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "pick": {"type": "string", "const": name},
                    "number": {"type": "integer", "enum": numbers},
                },
                "required": ["pick", "number"],
                "additionalProperties": False,
            }
            for name, numbers in _CHOICES.items()
        ]
    }


@tool
def current_trial() -> str:
    """The number of the trial that is running now."""
    return "17"


class _Asking:
    """The requests of one probe, and what they cost."""

    def __init__(self, config: ModelConfig, deadline: float) -> None:
        self._config, self._deadline = config, deadline
        self._calls: list[CallInfo] = []
        self._started = time.monotonic()
        self._endpoint = Endpoint(config)  # a key that is missing is said before anything is sent

    def seconds_left(self) -> float:
        """Until nothing more is asked."""
        return self._deadline - time.monotonic()

    def greet(self) -> int:
        """Have one answer, which may wait for the model to be loaded; the tokens of a prompt with nothing in it.

        Raises:
            NoReplyError: nobody listens, or there was no answer.
            RequestRejectedError: the endpoint takes not even this.
        """
        self._endpoint.check_ready()
        call = self._ask("Say hello.", 16)
        return call.prompt_tokens or 0

    def reply_tokens_per_s(self) -> float | None:
        """How fast it writes."""
        call = self._ask("Count from one to fifty in words: one, two, three,", SPEED_TOKENS)
        return _rate(call.completion_tokens, call.latency_s)

    def form(self, form: ReplyForm) -> Verdict:
        """Whether a reply form is enforced."""
        try:
            call = self._ask(_OFF_TOPIC, ANSWER_TOKENS, form=form)
        except RequestRejectedError:
            return Verdict.REFUSED
        except NoReplyError:
            return Verdict.UNKNOWN
        return _judge(call, form)

    def tools(self) -> Verdict:
        """Whether a tool is called."""
        question = "Which trial is running now? Call the tool current_trial to find out."
        try:
            call = self._ask(question, ANSWER_TOKENS, tools=(current_trial,))
        except RequestRejectedError:
            return Verdict.REFUSED
        except NoReplyError:
            return Verdict.UNKNOWN
        calls: list[dict[str, Any]] = (call.message or {}).get("tool_calls", [])
        called = [one["function"]["name"] for one in calls]
        return Verdict.HONOURED if current_trial.name in called else Verdict.IGNORED

    def read(self, text: str) -> Reading:
        """Have a text read, and the shortest answer given: how many tokens it was, in how many seconds.

        Raises:
            RequestRejectedError: it was refused.
            NoReplyError: there was no answer.
        """
        # What was read before must not be in a server's cache: it begins with what was never said.
        call = self._ask(f"{uuid.uuid4().hex[:8]} {text}", 16)
        return Reading(tokens=call.prompt_tokens, seconds=call.latency_s)

    def _ask(
        self,
        question: str,
        max_tokens: int,
        *,
        form: ReplyForm = "text",
        tools: Sequence[BaseTool] = (),
    ) -> CallInfo:
        timeout_s = min(self._config.timeout_s, self.seconds_left())
        if timeout_s <= 0:
            raise NoReplyError("no time left to ask", where=self._endpoint.place, kind=NoReplyKind.PASSING)
        endpoint = Endpoint(self._config.model_copy(update={"timeout_s": timeout_s}))
        request = Request(
            messages=[{"role": "user", "content": question}],
            seed=0,
            schema=choice_schema() if form != "text" else None,
            form=form,
            tools=tuple(tools),
            max_tokens=max_tokens,
        )
        return endpoint.ask(request, self._calls.append, lambda: False)

    def report(self, problem: str | None = None, **found: Any) -> EndpointReport:
        """What was found, with the sum of what was asked."""
        prompt = sum(call.prompt_tokens or 0 for call in self._calls)
        completion = sum(call.completion_tokens or 0 for call in self._calls)
        counted = all(call.prompt_tokens is not None for call in self._calls if call.error is None)
        return EndpointReport(
            problem=problem,
            requests=len(self._calls),
            prompt_tokens=prompt,
            completion_tokens=completion,
            usd=self._config.usd(prompt, completion) if counted else None,
            seconds=time.monotonic() - self._started,
            changes=found.pop("changes", {}),
            **found,
        )


def _judge(call: CallInfo, form: ReplyForm) -> Verdict:
    """Whether the answer obeys its form; one that was cut before it began tells nothing."""
    text = (call.raw_reply or "").rpartition("</think>")[2].strip()
    if form == "json_object" and call.cut and text.startswith("{"):
        return Verdict.HONOURED  # without a schema a small model may never close its object
    if call.cut and not text:
        return Verdict.UNKNOWN
    try:
        reply: object = json.loads(text)
    except (ValueError, RecursionError):
        return Verdict.IGNORED
    if not isinstance(reply, dict):
        return Verdict.IGNORED
    if form == "json_object":
        return Verdict.HONOURED
    return Verdict.HONOURED if _obeys(unwrapped(text) if form == "wrapped" else text) else Verdict.IGNORED


def _obeys(text: str) -> bool:
    match json.loads(text):
        case {"pick": str(name), "number": int(number), **rest}:
            return not rest and number in _CHOICES.get(name, ())
        case _:
            return False


def _rate(tokens: int | None, seconds: float) -> float | None:
    return tokens / seconds if tokens and seconds > 0 else None


def _changes(
    config: ModelConfig,
    forms: dict[ReplyForm, Verdict],
    tools: Verdict,
    context: ContextFinding,
    rates: tuple[float | None, float | None],
) -> dict[str, str | bool | int | float]:
    """What models.toml should say instead, where the answers leave no doubt."""
    changes: dict[str, str | bool | int | float] = {}
    honoured: list[ReplyForm] = [form for form in FORMS if forms.get(form) is Verdict.HONOURED]
    best = honoured[0] if honoured else "text"
    if Verdict.UNKNOWN not in forms.values() and reply_format_of(best) != config.reply_format:
        changes["reply_format"] = reply_format_of(best)
    if tools is not Verdict.UNKNOWN and (tools is Verdict.HONOURED) != config.tools:
        changes["tools"] = tools is Verdict.HONOURED
    takes = config.context_tokens
    if context.limit_tokens is not None and MIN_CONTEXT_TOKENS <= context.limit_tokens < takes:
        takes = changes["context_tokens"] = context.limit_tokens
    prompt_rate, reply_rate = rates
    if prompt_rate is not None and reply_rate is not None:
        needed_s = takes / prompt_rate + config.max_tokens / reply_rate
        if needed_s > config.timeout_s:
            changes["timeout_s"] = float(min(3600, 30 * (int(needed_s / 30) + 1)))
    return changes
