"""Proposals: the three raw forms a proposer may answer in, and the one form that the rest of the system sees."""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rails.errors import NightshiftError
from rails.text import clean_text, quote

TEXT_LIMIT = 500
"""Longest hypothesis or reason after cleaning, in characters."""
RAW_TEXT_LIMIT = 1_000
"""Longest hypothesis or reason that is taken from a proposer, in characters."""


class ProposalError(NightshiftError):
    """A reply's object is not a proposal of an allowed form. `what` is safe to show to a model."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_Model = TypeVar("_Model", bound=_Strict)


class RawKnob(_Strict):
    """The one-knob form, exactly as a proposer writes it."""

    knob: str
    # A boolean is let through to the range rail, which can say what the knob needs instead.
    new_value: bool | int | float | str
    reason: str


class RawKnobs(_Strict):
    """The form that sets several knobs at once."""

    knobs: dict[str, bool | int | float | str] = Field(min_length=1)
    reason: str


class RawCode(_Strict):
    """The code form, as a proposer writes it: as one object, or as a header with the text of the edit behind it."""

    diff: str
    """The text of the edit, in any form that `rails.source.code_reply` reads."""
    hypothesis: str
    expected_delta: float | None = None
    reason: str


class KnobEdit(_Strict):
    """Set one knob. The value is normalised and allowed by the menu."""

    kind: Literal["knob"] = "knob"
    knob: str
    value: int | float | str


class KnobsEdit(_Strict):
    """Set several knobs at once. The values are normalised and allowed by the menu."""

    kind: Literal["knobs"] = "knobs"
    values: dict[str, int | float | str]


class DiffEdit(_Strict):
    """Change the code of the edit surface."""

    kind: Literal["diff"] = "diff"
    diff: str
    """The unified diff that the edit came to; of an edit that was refused, its own text."""


Edit: TypeAlias = Annotated[KnobEdit | KnobsEdit | DiffEdit, Field(discriminator="kind")]


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
    "knobs": "an object with a number or a string for each of one or more knobs",
    "reason": "a string",
    "diff": "a string",
    "hypothesis": "a string",
    "expected_delta": "a finite number or null",
}


def read_raw(data: dict[str, Any], behind: str, modes: tuple[str, ...]) -> RawKnob | RawKnobs | RawCode:
    """Read a reply in one of the forms that `modes` ("knob", "knobs", "diff") allow.

    Args:
        data: the reply's object.
        behind: the text behind the object: an edit of code, when the object is its header.
        modes: the task's forms.

    Raises:
        ProposalError: a missing or unknown key, a wrong type, an empty or endless reason, or a form that is not
            allowed.
    """
    if is_header(data, modes):
        if not behind:
            raise ProposalError(
                "there is no edit behind the header: give SEARCH and REPLACE blocks, or whole functions"
            )
        raw: RawKnob | RawKnobs | RawCode = _validated(RawCode, {**data, "diff": behind}, _HEADER_KEYS)
    else:
        form = _form(data, modes)
        raw = _validated(form, data, f"the keys must be exactly {', '.join(form.model_fields)}")
    _check_texts(raw)
    return raw


def _form(data: dict[str, Any], modes: tuple[str, ...]) -> type[RawKnob | RawKnobs | RawCode]:
    """The form that a reply's keys name, of those allowed; where they name none, the task's first."""
    forms: dict[str, type[RawKnob | RawKnobs | RawCode]] = {"knob": RawKnob, "diff": RawCode, "knobs": RawKnobs}
    allowed = [mode for mode in forms if mode in modes]
    return forms[next((mode for mode in allowed if mode in data), allowed[0])]


def is_header(data: dict[str, Any], modes: tuple[str, ...]) -> bool:
    """Whether a reply's object announces an edit of code that stands behind it."""
    return "diff" in modes and "hypothesis" in data and not {"diff", "knob", "new_value"} & data.keys()


_HEADER_KEYS = "the header's keys must be hypothesis, expected_delta and reason"


def _validated(model: type[_Model], data: dict[str, Any], keys: str) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ProposalError(_explain(error, keys)) from None


def _check_texts(raw: RawKnob | RawKnobs | RawCode) -> None:
    texts = {"reason": raw.reason}
    if isinstance(raw, RawCode):
        texts["hypothesis"] = raw.hypothesis
        if not raw.diff.strip():
            raise ProposalError("diff is empty")
    for name, text in texts.items():
        if not clean_text(text, TEXT_LIMIT):
            raise ProposalError(f"{name} is empty")
        if len(text) > RAW_TEXT_LIMIT:
            raise ProposalError(f"{name} has {len(text):,} characters; at most {RAW_TEXT_LIMIT:,} are allowed")


def _explain(error: ValidationError, keys: str) -> str:
    details = error.errors(include_url=False)
    missing = [str(detail["loc"][0]) for detail in details if detail["type"] == "missing"]
    unknown = [quote(detail["loc"][0], 40) for detail in details if detail["type"] == "extra_forbidden"]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] * bool(missing)
        parts += [f"unknown {', '.join(unknown[:3])}"] * bool(unknown)
        return f"{keys}; {'; '.join(parts)}"
    key = str(details[0]["loc"][0])
    return f"{key} must be {_WANTED[key]}; got {quote(details[0]['input'])}"


def knob_proposal(raw: RawKnob, value: int | float | str) -> Proposal:
    """The proposal in a one-knob reply whose knob and value the menu allows; `value` is normalised."""
    reason = clean_text(raw.reason, TEXT_LIMIT)
    edit = KnobEdit(knob=raw.knob, value=value)
    return Proposal(hypothesis=reason, expected_delta=None, reason=reason, edit=edit)


def knobs_proposal(raw: RawKnobs, values: dict[str, int | float | str]) -> Proposal:
    """The proposal in a reply that sets several knobs, all of which the menu allows; `values` are normalised."""
    reason = clean_text(raw.reason, TEXT_LIMIT)
    return Proposal(hypothesis=reason, expected_delta=None, reason=reason, edit=KnobsEdit(values=values))


def code_proposal(raw: RawCode, diff: str) -> Proposal:
    """The proposal in a reply that edits code; `diff` is what it came to, or its own text until that is known."""
    return Proposal(
        hypothesis=clean_text(raw.hypothesis, TEXT_LIMIT),
        expected_delta=raw.expected_delta,
        reason=clean_text(raw.reason, TEXT_LIMIT),
        edit=DiffEdit(diff=diff),
    )
