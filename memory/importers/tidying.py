"""What a record of somebody else's file may hold in its free fields: texts on one line, and objects of the known shape.

A field that is wrong costs only itself. Texts keep what can be seen of them; an object that no reader could follow is
left out as a whole.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memory.records import Call, Campaign, Event, Lesson, Measurement, Record, Trial, Verdict
from rails.text import one_line, shorten

SHORT_CHARS = 2_000
"""Longest text that is one line; whatever a loop writes into these fields is far shorter."""

R = TypeVar("R", bound=Record)

_LINES: dict[type[Record], tuple[str, ...]] = {
    Campaign: (
        *("tag", "branch", "proposer", "fallback", "keep_rule", "isolation", "hardware_fingerprint", "source"),
        *("corpus_sha256", "baseline_commit", "head_commit", "stop_reason", "state_reason"),
    ),
    Trial: (
        *("proposer", "specialist", "domain", "edit_key", "program_key", "idea_key", "reason", "lesson"),
        *("lineage_sha256", "parent_commit", "candidate_commit", "commit_sha"),
    ),
    Measurement: ("isolation", "machine", "reason"),
    Call: ("proposer", "model"),
    Verdict: ("rail", "reason"),
    Lesson: ("text", "source"),
    Event: ("text",),
}
"""Fields that are one line, by the kind of record. Diffs, logs, replies and what a proposer hoped for may be longer."""


class _Shape(BaseModel):
    """Known keys of an object; others may hold anything."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


_Number = Annotated[float, Field(ge=-1e300, le=1e300)]


class _Compared(_Shape):
    baseline: _Number
    incumbent: _Number
    gain: _Number
    gain_low: _Number | None
    gain_high: _Number | None


class _Running(_Shape):
    state: Literal["running"]
    incumbent: int | None


class _Final(_Shape):
    state: Literal["done", "failed"]
    incumbent: int | None
    n: int
    failures: list[str]
    val: _Compared | None
    test: _Compared | None


class _Result(_Shape):
    final: _Running | _Final


class _Metric(_Shape):
    name: str = ""
    direction: Literal["minimize", "maximize"] = "minimize"
    scale: Literal["linear", "log"] = "linear"


class _Budget(_Shape):
    kind: str = ""
    amount: _Number = 0.0


class _Edit(_Shape):
    file: str = ""
    class_name: str = Field(default="", alias="class")
    modes: list[str] = []


class _Menu(_Shape):
    knobs: dict[str, Any] = {}


class _Energy(_Shape):
    usd_per_kwh: _Number | None = None


class _Task(_Shape):
    name: str = ""
    metric: _Metric | None = None
    budget: _Budget | None = None
    edit: _Edit | None = None
    menu: _Menu | None = None
    energy: _Energy | None = None
    data: dict[str, Any] | None = None
    trial: dict[str, Any] | None = None
    size: dict[str, Any] | None = None
    keep: dict[str, Any] | None = None
    lineage: dict[str, Any] | None = None


class _Decision(_Shape):
    seeds: list[int] = []
    candidate_mean: _Number | None = None
    incumbent_mean: _Number | None = None
    baseline_mean: _Number | None = None
    n_candidate: int | None = None
    n_incumbent: int | None = None
    n_left_out: int | None = None
    noise_sd: _Number | None = None
    noise_df: int | None = None
    noise_campaigns: int | None = None
    direction: Literal["minimize", "maximize"] | None = None
    scores_by_seed: list[list[_Number]] = []
    slope: _Number | None = None
    pair_sd: _Number | None = None
    earlier_pairs: int | None = None
    standard_error: _Number | None = None
    df: _Number | None = None
    statistic: _Number | None = None
    futility_bound: _Number | None = None
    p_null: _Number | None = None
    keep_level: _Number | None = None
    n_controls: int | None = None
    control_statistic: _Number | None = None
    control_bound: _Number | None = None
    min_gain: _Number | None = None
    checkpoint: _Number | None = None
    loss: _Number | None = None
    incumbent_loss: _Number | None = None
    deficit: _Number | None = None
    margin: _Number | None = None
    pairs: int | None = None
    confidence: _Number | None = None


class _Change(_Shape):
    knob: str | None = None
    value: str | float | int | bool | None = None
    diff: str | None = None


_OBJECTS: dict[type[Record], dict[str, type[_Shape]]] = {
    Campaign: {"task": _Task, "final": _Result},
    Trial: {"decision": _Decision, "edit": _Change},
}


def tidied(record: R, found: Counter[str]) -> R:
    """The record with its free fields as they may be; those that were not are counted by name.

    Args:
        record: as it was read.
        found: gets the names of the fields that were changed.
    """
    changes = {name: text for name, text in _lines_of(record)}
    changes |= {name: left for name, left in _objects_of(record)}
    if not changes:
        return record
    kind = type(record).__name__.lower()
    found.update(f"{kind} {name}" for name in changes)
    return record.model_copy(update=changes)


def note_of(found: Counter[str]) -> list[str]:
    """What a person is told of changed fields: one sentence, or none."""
    if not found:
        return []
    fields = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(found.items()))
    return [f"control characters were taken out of fields, or objects of an unknown shape left out: {fields}"]


def _lines_of(record: Record) -> Iterator[tuple[str, str]]:
    for name in _LINES.get(type(record), ()):
        text = getattr(record, name)
        if text is not None and not (text.isprintable() and len(text) <= SHORT_CHARS):
            line = shorten(one_line(text), SHORT_CHARS) or "-"
            if line != text:
                yield name, line


def _objects_of(record: Record) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for name, shape in _OBJECTS.get(type(record), {}).items():
        value = getattr(record, name)
        if value is None:
            continue
        if name == "task":
            sections = {key: part for key, part in value.items() if _fits(shape, {key: part})}
            if len(sections) < len(value):
                yield name, sections
        elif not _fits(shape, {"final": value} if shape is _Result else value):
            yield name, None


def _fits(shape: type[_Shape], value: dict[str, Any]) -> bool:
    try:
        shape.model_validate(value)
    except (ValidationError, RecursionError):
        return False
    return True
