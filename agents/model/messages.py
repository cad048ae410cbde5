"""A model's message between three forms: the protocol's JSON, langchain's `AIMessage`, and text for the rails."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall

from agents.texts import storable, storable_json


def reply_text(message: AIMessage) -> str:
    """The raw text of an answer: its content, or else its refusal, or else its tool calls as JSON."""
    if text := _content(message):
        return text
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal
    called = [*message.tool_calls, *message.invalid_tool_calls]
    return _dump({"tool_calls": [{"name": c["name"], "args": c["args"]} for c in called]}) if called else ""


def _content(message: AIMessage) -> str:
    content: Any = message.content
    return content if isinstance(content, str) else "".join(_parts(content))


def _dump(value: Any) -> str:
    """JSON text that can be stored, sent and read by anybody."""
    return json.dumps(storable_json(value))


def _parts(content: list[Any]) -> Iterator[str]:
    for part in content:
        match part:
            case str():
                yield part
            case {"text": str(text)}:
                yield text
            case _:
                continue


def protocol_message(message: AIMessage) -> dict[str, Any]:
    """The whole message in the form of the protocol, storable; `read_message` reads it back."""
    calls = [
        *((call["id"], call["name"], _dump(call["args"])) for call in message.tool_calls),
        *((call["id"], call["name"], call["args"] or "") for call in message.invalid_tool_calls),
    ]
    whole: dict[str, Any] = {"role": "assistant", "content": storable(_content(message)) or None}
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str) and refusal:
        whole["refusal"] = storable(refusal)
    if calls:
        whole["tool_calls"] = [
            {
                "id": storable(call_id or f"call_{position}"),
                "type": "function",
                "function": {"name": storable(name or "unnamed"), "arguments": storable(arguments)},
            }
            for position, (call_id, name, arguments) in enumerate(calls)
        ]
    return whole


def read_message(message: Mapping[str, Any]) -> AIMessage:
    """Read a message of the protocol, whatever its fields hold: what is no text or call is made one or left out."""
    content, refusal = message.get("content"), message.get("refusal")
    match content:
        case str():
            text: str | list[str | dict[Any, Any]] = content
        case list():
            text = [part for part in content if isinstance(part, str | dict)]
        case None:
            text = ""
        case _:
            text = _dump(content)
    good, bad = _read_calls(message.get("tool_calls"))
    extra = {"refusal": refusal} if isinstance(refusal, str) else {}
    return AIMessage(content=text, tool_calls=good, invalid_tool_calls=bad, additional_kwargs=extra)


def _read_calls(calls: Any) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in calls if isinstance(calls, list) else []:
        match call:
            case {"function": {"name": str(name), **function}}:
                call_id = call["id"] if isinstance(call.get("id"), str) else None
                given = function.get("arguments")
                arguments = _arguments(given)
                if arguments is not None:
                    good.append(ToolCall(name=name, args=arguments, id=call_id))
                else:
                    text = given if isinstance(given, str) else _dump(given)
                    bad.append(InvalidToolCall(type="invalid_tool_call", name=name, args=text, id=call_id, error=None))
            case _:
                continue
    return good, bad


def _arguments(given: Any) -> dict[str, Any] | None:
    """A call's arguments as the client reads them, or None when they are no JSON object."""
    try:
        read: Any = json.loads(given) if isinstance(given, str) and given else given
    except (ValueError, RecursionError):
        return None
    if read is None or read == "":
        return {}
    return read if isinstance(read, dict) else None


def read_completion(body: bytes) -> tuple[AIMessage, tuple[int, int] | None] | None:
    """The message, and the tokens used, of a chat completion that the client could not read.

    It was answered and paid for: odd as it is, the rails judge it. None when the body is no chat completion.
    """
    try:
        match json.loads(body):
            case {"choices": [{"message": dict(message), **choice}, *_], **rest}:
                read = read_message(message)
                read.response_metadata = {"finish_reason": choice.get("finish_reason")}
            case _:
                return None
    except (ValueError, RecursionError):
        return None
    match rest.get("usage"):
        case {"prompt_tokens": int(prompt), "completion_tokens": int(completion)}:
            return read, (prompt, completion)
        case _:
            return read, None
