"""Proposals: the two raw forms a proposer may answer in, and the one form that the rest of the system sees."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rails.errors import NightshiftError
from rails.text import clean_text, quote

TEXT_LIMIT = 500
"""Longest hypothesis or reason after cleaning, in characters."""


class ProposalError(NightshiftError):
    """A reply's object is not a proposal of an allowed form. `what` is safe to show to a model."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RawKnob(_Strict):
    """The one-knob form, exactly as a proposer writes it."""

    knob: str
    # A boolean is let through to the range rail, which can say what the knob needs instead.
    new_value: bool | int | float | str
    reason: str


class RawDiff(_Strict):
    """The diff form, exactly as a proposer writes it."""

    diff: str
    hypothesis: str
    expected_delta: float | None
    reason: str


class KnobEdit(_Strict):
    """Set one knob. The value is normalised and allowed by the menu."""

    kind: Literal["knob"] = "knob"
    knob: str
    value: int | float | str


class DiffEdit(_Strict):
    """Apply a unified diff to the edit surface."""

    kind: Literal["diff"] = "diff"
    diff: str


Edit: TypeAlias = Annotated[KnobEdit | DiffEdit, Field(discriminator="kind")]


class Proposal(_Strict):
    """What to try and why. The texts are cleaned: one line each, safe to print and to show to a model."""

    hypothesis: str = Field(min_length=1, max_length=TEXT_LIMIT)
    expected_delta: float | None
    """The proposer's guess of the change in the metric; None when it made none."""
    reason: str = Field(min_length=1, max_length=TEXT_LIMIT)
    edit: Edit


_WANTED = {
    "knob": "a string",
    "new_value": "a number or a string",
    "reason": "a string",
    "diff": "a string",
    "hypothesis": "a string",
    "expected_delta": "a finite number or null",
}


def read_raw(data: dict[str, Any], modes: tuple[str, ...]) -> RawKnob | RawDiff:
    """Read a reply's object in one of the forms that `modes` ("knob", "diff") allow.

    Raises:
        ProposalError: a missing or unknown key, a wrong type, an empty reason, or a form that is not allowed.
    """
    is_diff = "diff" in modes if "diff" in data else "knob" not in modes
    model = RawDiff if is_diff else RawKnob
    try:
        raw = model.model_validate(data)
    except ValidationError as error:
        raise ProposalError(_explain(error, model)) from None
    texts = {"reason": raw.reason}
    if isinstance(raw, RawDiff):
        texts |= {"hypothesis": raw.hypothesis, "diff": raw.diff}
    for name, text in texts.items():
        if not clean_text(text, TEXT_LIMIT):
            raise ProposalError(f"{name} is empty")
    return raw


def _explain(error: ValidationError, model: type[RawKnob] | type[RawDiff]) -> str:
    details = error.errors(include_url=False)
    exactly = f"the keys must be exactly {', '.join(model.model_fields)}"
    missing = [str(detail["loc"][0]) for detail in details if detail["type"] == "missing"]
    unknown = [quote(detail["loc"][0], 40) for detail in details if detail["type"] == "extra_forbidden"]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown[:3])}"] * bool(
            unknown
        )
        return f"{exactly}; {'; '.join(parts)}"
    key = str(details[0]["loc"][0])
    return f"{key} must be {_WANTED[key]}; got {quote(details[0]['input'])}"


def knob_proposal(raw: RawKnob, value: int | float | str) -> Proposal:
    """The proposal in a one-knob reply whose knob and value the menu allows; `value` is normalised."""
    reason = clean_text(raw.reason, TEXT_LIMIT)
    edit = KnobEdit(knob=raw.knob, value=value)
    return Proposal(hypothesis=reason, expected_delta=None, reason=reason, edit=edit)


def diff_proposal(raw: RawDiff) -> Proposal:
    """The proposal in a diff reply; whether the diff applies is not known yet."""
    return Proposal(
        hypothesis=clean_text(raw.hypothesis, TEXT_LIMIT),
        expected_delta=raw.expected_delta,
        reason=clean_text(raw.reason, TEXT_LIMIT),
        edit=DiffEdit(diff=raw.diff),
    )
