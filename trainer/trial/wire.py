"""The messages between the loop and a trial process, and the layout of the memory they share.

Newline-delimited JSON over a Unix socket. The child is not trusted: `parse_event` accepts exactly what is documented
here and raises `WireError` for everything else, and nothing that it accepts decides a score.

    child → parent                                          parent → child
    {"event":"start","params","flops_per_token","device"}   {"op":"data","files","charged_s"} and a descriptor a file
    {"event":"progress","step","tokens","elapsed_s","loss"}
    {"event":"trained","summary"}                           {"op":"score","rows"}
    {"event":"failed","kind","reason"}
    {"event":"scored"}

A trial sends `start`, gets its training data, reports progress, has saved its state when it sends `trained`, and
answers requests. A replica of it only answers requests. Either side ends the conversation by hanging up.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from trainer.budget import Budget, BudgetKind

SPEC_VARIABLE = "NIGHTSHIFT_SPEC"
"""The environment variable that tells train.py it is a trial: a `ChildSpec` as JSON."""
MAX_LINE_BYTES = 64 * 1024
MAX_SUMMARY_KEYS = 64
MAX_TEXT = 300
MAX_FILES = 16
MAX_COUNT = 2**63 - 1

FAILURES = {
    "nan": "its loss became NaN",
    "diverged": "its loss diverged",
    "shape": "its logits have another shape than [rows, length, vocab_size]",
    "replica": "a replica must only load session.saved_state() and answer; it did something else",
    "error": "it gave up",
}
"""Kinds of failure that a process may report, and what the loop says where the process's own words are left out."""

Scalar = str | int | float | bool | None


class WireError(ValueError):
    """A message that is not as documented; its text says what is wrong, in words fit for a trial's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLayout:
    """Where tokens and logits lie in the shared memory.

    int32 tokens [rows, seq_len] from byte 0, then float32 logits [rows, seq_len, vocab_size] from `logits_offset`.
    """

    rows: int
    seq_len: int
    vocab_size: int

    @property
    def logits_offset(self) -> int:
        """The first byte of the logits, a multiple of 64 so that they are aligned."""
        return -(-4 * self.rows * self.seq_len // 64) * 64

    @property
    def total_bytes(self) -> int:
        """The size of the whole memory."""
        return self.logits_offset + 4 * self.rows * self.seq_len * self.vocab_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """Everything a trial process is told; file descriptors are its own.

    Args:
        replica: whether it loads the state in `state_fd` and only answers, instead of training and saving it there.
        one_step: whether its budget is over after one step: it is tried out.
    """

    seed: int
    budget: Budget
    device: str
    threads: int
    eval_rows: int
    eval_seq_len: int
    vocab_size: int
    control_fd: int
    shm_fd: int
    state_fd: int
    replica: bool = False
    one_step: bool = False

    def to_json(self) -> str:
        """The value of `SPEC_VARIABLE`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec in `text`.

        Raises:
            WireError: not a spec.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            budget: dict[str, Any] = given.pop("budget")
            return cls(**given, budget=Budget(kind=BudgetKind(budget["kind"]), amount=float(budget["amount"])))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WireError(f"{SPEC_VARIABLE} is not a trial's specification: {error}") from error

    @property
    def layout(self) -> SharedLayout:
        """The layout of the shared memory behind `shm_fd`."""
        return SharedLayout(rows=self.eval_rows, seq_len=self.eval_seq_len, vocab_size=self.vocab_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The model is built: the budget's clock starts when this arrives."""

    params: int
    flops_per_token: float
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where training is, as the child tells it.

    `loss` is in nats per token, the mean over the steps since the last report; `elapsed_s` is since `start`, by the
    budget's clock and with what start-up was charged. On a budget of CPU seconds the parent puts its own count there.
    """

    step: int
    tokens: int
    elapsed_s: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Training is over, its state is saved and the model can be asked. The summary is shown, never decided on."""

    summary: dict[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The child gave up by itself: `kind` is one of `FAILURES`."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The logits of the last requested rows are in the shared memory."""


Event = Start | Progress | Trained | Failed | Scored

_EVENTS: dict[str, type[Event]] = {
    "start": Start,
    "progress": Progress,
    "trained": Trained,
    "failed": Failed,
    "scored": Scored,
}
_NAMES = {cls: name for name, cls in _EVENTS.items()}


def encode_event(event: Event) -> bytes:
    """One line for the socket.

    Raises:
        ValueError: a number in the event is not finite.
    """
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}, allow_nan=False).encode() + b"\n"


def parse_event(line: bytes) -> Event:
    """The event in one line.

    Raises:
        WireError: not exactly one of the documented messages.
    """
    message = _load_object(line)
    name = message.pop("event", None)
    cls = _EVENTS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise WireError(f"unknown event {_show(name)}")
    expected = {field.name for field in fields(cls)}
    if set(message) != expected:
        raise WireError(f"event {name!r} must have exactly the keys {sorted(expected)}, not {_show(sorted(message))}")
    return cls(**{key: _CHECKS[key](key, value) for key, value in message.items()})


def encode_score_request(rows: int) -> bytes:
    """One line that asks the child for the logits of the first `rows` rows in the shared memory."""
    return json.dumps({"op": "score", "rows": rows}).encode() + b"\n"


def parse_score_request(line: bytes, *, limit: int) -> int:
    """The number of rows that the parent asks to score, at most `limit`.

    Raises:
        WireError: not exactly the documented request.
    """
    message = _load_object(line)
    rows = message.get("rows")
    if set(message) != {"op", "rows"} or message["op"] != "score" or type(rows) is not int or not 1 <= rows <= limit:
        raise WireError(f"unknown request {_show(message)}")
    return rows


def encode_data(names: Sequence[str], charged_s: float = 0.0) -> bytes:
    """One line that names the files whose descriptors travel with it, in their order, and starts the clock.

    Args:
        names: of the files.
        charged_s: what the clock shows when it starts: the part of a budget of time that start-up has spent.
    """
    return json.dumps({"op": "data", "files": list(names), "charged_s": charged_s}).encode() + b"\n"


def parse_data(line: bytes) -> tuple[list[str], float]:
    """The names of the files that come with the line, and the seconds that start-up is charged.

    Raises:
        WireError: not exactly the documented message.
    """
    message = _load_object(line)
    names = message.get("files")
    if set(message) != {"op", "files", "charged_s"} or message["op"] != "data" or not isinstance(names, list):
        raise WireError(f"expected the training data, not {_show(message)}")
    return [str(name) for name in names], _quantity("charged_s", message["charged_s"])


def _load_object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"a message of more than {MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message that is not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise WireError(f"a message that is not an object: {_show(value)}")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _show(value: object) -> str:
    return repr(value)[:80]


def _count(key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise WireError(f"{key} must be a whole number from 0 on, not {_show(value)}")
    return value


def _finite(key: str, value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(number := _to_float(value)):
        raise WireError(f"{key} must be a finite number, not {_show(value)}")
    return number


def _quantity(key: str, value: object) -> float:
    if (number := _finite(key, value)) < 0:
        raise WireError(f"{key} must not be negative, but is {_show(value)}")
    return number


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise WireError(f"{key} must be text, not {_show(value)}")
    return clean_line(value)


def _failure_kind(key: str, value: object) -> str:
    if not isinstance(value, str) or value not in FAILURES:
        raise WireError(f"{key} must be one of {tuple(FAILURES)}, not {_show(value)}")
    return value


def _summary(key: str, value: object) -> dict[str, Scalar]:
    if not isinstance(value, dict) or len(value) > MAX_SUMMARY_KEYS:
        raise WireError(f"{key} must be an object of at most {MAX_SUMMARY_KEYS} keys")
    return {clean_line(str(name)): _scalar(value_) for name, value_ in value.items()}


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_line(value)
    if isinstance(value, int) and abs(value) <= MAX_COUNT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise WireError(f"the summary may hold text and finite numbers only, not {_show(value)}")


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "params": _count,
    "flops_per_token": _quantity,
    "device": _text,
    "step": _count,
    "tokens": _count,
    "elapsed_s": _quantity,
    "loss": _finite,
    "summary": _summary,
    "kind": _failure_kind,
    "reason": _text,
}


def clean_line(text: str) -> str:
    """`text` on one line of at most `MAX_TEXT` printable characters, without lone surrogates."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * MAX_TEXT])
    line = " ".join(printable.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
