"""The JSONL of loops that change one knob of a menu: a header with the baseline, then an iteration a line.

Every edit is applied to the header's configuration and compared with the header's metric: there is no ratchet. That
metric is a number that the log states, not a run of the loop, so it is no replicate of anything; an iteration with the
same configuration is one.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic_core import from_json, to_json

from memory.importers.builder import LogBuilder
from memory.importers.lines import storable_object_in
from memory.importers.log import Log, LogFormat, Origin, RowError
from memory.importers.placed import Found
from memory.importers.values import moment, real, seconds, storable, whole
from rails.status import FINISHED, Status
from rails.text import quote

STAGES = {
    "blocked": Status.RAIL_BLOCKED,
    "eval_failed": Status.CRASH,
    "nim_error": Status.HARNESS_ABORT,
    "paused": Status.INTERRUPTED,
}
"""Stages at which an iteration ended without a score. `evaluated` is the other one."""

DECISIONS = {"keep": Status.KEEP, "revert": Status.DISCARD, "discard": Status.DISCARD}
CLOSING = "loop_complete"
"""The stage of the last line, which sums up."""

_REASONS = ("verdict_reason", "block_reason", "error", "reason", "eval_error")
_LOOKED_AT = 5
"""Lines in which the format shows, should the first be damaged."""


def recognise(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether these first lines are of such a log."""
    for _, text in lines[:_LOOKED_AT]:
        try:
            found = storable_object_in(text)
        except RowError:
            continue
        if _is_header(found) or {"iter", "stage"} <= found.keys():
            return True
    return False


def read(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    """The log."""
    builder = LogBuilder(origin, LogFormat.MENU_LOOP)
    header: Mapping[str, Any] = {}
    closing: Mapping[str, Any] = {}
    for line, text in lines:
        try:
            found = storable_object_in(text)
            if _is_header(found):
                if header or builder.trials:
                    raise RowError("a second header: the loop was started again, and its trials are counted on")
                _add_baseline(builder, found)
                header = found
            elif found.get("stage") == CLOSING:
                closing = found
            else:
                if not builder.trials:
                    _add_baseline(builder, found)
                builder.add(_iteration(found))
        except RowError as error:
            builder.refuse(line, str(error))
    _check_sums(builder, closing)
    knobs = {name: _knob(value) for name, value in _part(header, "baseline_cfg").items()}
    threshold = real(header.get("accept_delta_frac"))
    task: dict[str, Any] = {"menu": {"knobs": knobs}, "knobs_from": "header" if knobs else "observed"}
    if threshold is not None:
        task["keep"] = {"rule": "threshold", "min_gain": threshold, "max_measurements": 1}
    return builder.finish(task=task, campaign={} if threshold is None else {"keep_rule": "threshold"})


def _is_header(found: Mapping[str, Any]) -> bool:
    return "baseline_val_bpb" in found and "iter" not in found and "stage" not in found


def _add_baseline(builder: LogBuilder, found: Mapping[str, Any]) -> None:
    """The starting point: of the header, or of the first iteration when the header is gone."""
    metric = real(found.get("baseline_val_bpb"))
    if metric is None:
        builder.notes.append("there is no baseline: no line says what the loop started from")
        return
    config = found.get("baseline_cfg")
    if not isinstance(config, dict):
        builder.notes.append("the header cannot be read: the baseline is that of the first iteration")
    key = _program(config)
    builder.add(Found(status=Status.BASELINE, metric=metric, measured=False, trial={"program_key": key}))


def _iteration(found: Mapping[str, Any]) -> Found:
    """An iteration as a trial.

    Raises:
        RowError: its stage or decision is unknown, or it lacks what it must have.
    """
    status = _status(found)
    proposal, metrics = _part(found, "proposal"), _part(found, "eval_metrics")
    score = real(found.get("val_bpb"))
    edit = _edit(proposal)
    finished = status in FINISHED
    gigabytes = real(metrics.get("peak_gpu_mem_gib"))
    train_s, score_s = seconds(metrics.get("train_wall_s")), seconds(metrics.get("val_wall_s"))
    said = _text(proposal, "reason")
    return Found(
        status=status,
        metric=score if finished else None,
        claimed=None if finished else score,
        number=whole(found.get("iter")),
        parent=0,
        rival=0,
        trial={
            "hypothesis": said,
            "rationale": said,
            "reason": None if finished else _reason(found, metrics),
            "edit": edit,
            "edit_key": None if edit is None else f"{edit['knob']}={edit['value']}",
            "program_key": _program(found.get("candidate_cfg")),
            "diff": found["diff"] if isinstance(found.get("diff"), str) else None,
            "propose_s": seconds(found.get("nim_latency_s")),
            "train_s": train_s,
            "score_s": score_s,
            "total_s": seconds(found.get("iter_wall_s")),
            "created_at": moment(found.get("ts")),
        },
        measurement={
            "steps": whole(metrics.get("train_steps")),
            "train_s": train_s or None,
            "score_s": score_s or None,
            "peak_device_bytes": round(gigabytes * 2**30) if gigabytes and 0 < gigabytes < 1e6 else None,
            "summary": storable(metrics),
        },
    )


def _part(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _text(found: Mapping[str, Any], name: str) -> str | None:
    """A text with something in it."""
    text = found.get(name)
    return text if isinstance(text, str) and text.strip() else None


def _status(found: Mapping[str, Any]) -> Status:
    stage = found.get("stage")
    if stage == "evaluated":
        decision = found.get("decision")
        if not isinstance(decision, str) or decision not in DECISIONS:
            raise RowError(f"unknown decision {quote(decision)}")
        return DECISIONS[decision]
    if not isinstance(stage, str) or stage not in STAGES:
        raise RowError(f"unknown stage {quote(stage)}" if "stage" in found else "it has no stage")
    return STAGES[stage]


def _edit(proposal: Mapping[str, Any]) -> dict[str, Any] | None:
    knob, value = proposal.get("knob"), proposal.get("new_value")
    if not isinstance(knob, str) or not knob or not isinstance(value, bool | int | float | str):
        return None
    return None if storable(value) is None else {"kind": "knob", "knob": knob, "value": value}


def _reason(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    said = (_text(place, name) for place in (found, metrics) for name in _REASONS)
    return next((text for text in said if text is not None), None)


def _program(config: object) -> str | None:
    """Equal configurations have equal keys."""
    return _key(to_json(config, inf_nan_mode="null")) if isinstance(config, dict) else None


@lru_cache(maxsize=10_000)
def _key(config: bytes) -> str:
    """The key of a configuration, which most logs have many times: loops repeat themselves."""
    return sha256(json.dumps(from_json(config), sort_keys=True).encode("ascii")).hexdigest()


def _knob(value: Any) -> dict[str, Any]:
    kind = {bool: "bool", int: "int", float: "float"}.get(type(value), "str")
    return {"type": kind, "default": value}


def _check_sums(builder: LogBuilder, closing: Mapping[str, Any]) -> None:
    """Whether the log's own last line says the same."""
    for name, status in (("accept_count", Status.KEEP), ("revert_count", Status.DISCARD)):
        said, found = whole(closing.get(name)), sum(t.found.status is status for t in builder.trials.values())
        if said is not None and said != found:
            builder.notes.append(f"its last line says {name} = {said}, its iterations show {found}")
