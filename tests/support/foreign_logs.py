"""Small logs in the formats of other loops, written here: none of their rows was ever measured by anybody."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MENU = {
    "_about": "keys that begin with an underscore are notes",
    "knobs": {
        "layers": {"type": "int", "range": [2, 24], "default": 8},
        "width": {"type": "int", "choices": [128, 256, 512], "default": 256},
        "lr": {"type": "float", "range": [1e-5, 1e-2], "default": 1e-3},
        "dtype": {"type": "str", "choices": ["bf16", "fp8"], "default": "bf16"},
    },
    "cross_constraints": [{"id": "wide", "rule": "width % layers == 0", "doc": "even heads"}],
}
CONFIG = {"layers": 8, "width": 256, "lr": 1e-3, "dtype": "bf16", "steps": 60}
HEADER = {"_meta": "log", "baseline_val_bpb": 5.0, "baseline_cfg": CONFIG, "accept_delta_frac": 0.005}

WIDE = (
    *("exp_id", "timestamp", "specialist", "parent_exp", "baseline_exp", "domain", "hypothesis", "expected_delta"),
    *("status", "val_bpb", "delta_vs_best", "artifact_bytes", "train_s", "eval_s", "total_s", "job_name"),
    *("snapshot_path", "notes"),
)
NARROW = ("commit", "val_bpb", "memory_gb", "status", "description")


def iteration(
    number: int, knob: str, value: Any, val_bpb: float, decision: str = "revert", **more: Any
) -> dict[str, Any]:
    """An evaluated iteration of a menu loop."""
    return {
        "iter": number,
        "ts": f"2026-01-02 03:{number:02d}:00",
        "stage": "evaluated",
        "proposal": {"knob": knob, "new_value": value, "reason": f"try {knob}"},
        "candidate_cfg": {**CONFIG, knob: value},
        "eval_metrics": {"train_steps": 60, "train_wall_s": 50.0, "val_wall_s": 0.5, "peak_gpu_mem_gib": 2.0},
        "val_bpb": val_bpb,
        "baseline_val_bpb": 5.0,
        "improvement_frac": round((5.0 - val_bpb) / 5.0, 4),
        "decision": decision,
        "nim_latency_s": 1.5,
        "iter_wall_s": 60.0,
        **more,
    }


def ended(number: int, stage: str, **more: Any) -> dict[str, Any]:
    """An iteration without a score."""
    return {"iter": number, "stage": stage, "proposal": {"knob": "lr", "new_value": 0.5}, "iter_wall_s": 2.0, **more}


ITERATIONS: list[dict[str, Any]] = [
    iteration(1, "width", 512, 4.90, "keep"),
    iteration(2, "width", 512, 4.94, "keep"),
    iteration(3, "width", 512, 4.92, "keep"),
    ended(4, "blocked", verdict_reason="lr is out of range"),
    iteration(5, "lr", 0.002, 5.04),
    iteration(6, "lr", 0.002, 4.97, "keep"),
    iteration(7, "width", 256, 4.98),  # the header's own configuration
    ended(8, "eval_failed", eval_metrics={"ok": False, "error": "CUDA out of memory"}),
    ended(9, "nim_error"),
    ended(10, "paused"),
]
CLOSING = {"stage": "loop_complete", "accept_count": 4, "revert_count": 2, "loop_wall_s": 400.0}


def write_lines(path: Path, lines: Sequence[object]) -> Path:
    """A file with a line for each text or JSON value."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def menu_log(path: Path) -> Path:
    """A whole menu-loop log."""
    return write_lines(path, [HEADER, *ITERATIONS, CLOSING])


def wide_row(number: int, status: str, metric: object = "", **cells: object) -> dict[str, object]:
    """A row of the wide table."""
    return {
        "exp_id": f"{number:03d}",
        "timestamp": f"2026-01-02T03:{number:02d}:00Z",
        "specialist": "opt",
        "parent_exp": "exp_000",
        "baseline_exp": "000",
        "domain": "opt",
        "hypothesis": 'a "quoted, text with commas',
        "expected_delta": "-0.002",
        "status": status,
        "val_bpb": metric,
        "total_s": "100.0",
        "job_name": f"job-{number}",
        "notes": "because",
        **cells,
    }


WIDE_ROWS = [
    wide_row(0, "baseline", "1.100000", total_s="", parent_exp="", baseline_exp=""),
    wide_row(1, "eval_budget_overrun", "1.010000", train_s="60.5", eval_s="70.5"),
    wide_row(2, "keep", "1.090000", delta_vs_best="-0.010000", train_s="60.0", eval_s="30.0"),
    wide_row(3, "crash", notes="RuntimeError: boom", total_s="7.0"),
    wide_row(4, "discard", "1.095000", delta_vs_best="+0.005000", baseline_exp="002"),
    wide_row(5, "keep", "1.089500", delta_vs_best="-0.000500", baseline_exp="002", parent_exp="exp_002"),
    wide_row(6, "size_blocked", "", total_s="20.0"),
]


def wide_log(path: Path, rows: Sequence[dict[str, object]] = WIDE_ROWS, columns: Sequence[str] = WIDE) -> Path:
    """A wide table."""
    lines = ["\t".join(str(row.get(name, "")) for name in columns) for row in rows]
    return write_lines(path, ["\t".join(columns), *lines])


NARROW_ROWS = [
    "a1b2c3d\t0.998000\t44.0\tkeep\tbaseline",
    "b2c3d4e\t0.993000\t44.2\tkeep\tincrease LR to 0.04",
    'c3d4e5f\t1.005000\t44.0\tdiscard\tswitch to "GeLU" activation',
    "d4e5f6a\t0.000000\t0.0\tcrash\tdouble model width (OOM)",
    "e5f6a7b\t0.995100\t44.1\tdiscard\tdepth=9",
    "f6a7b8c\t0.992000\t44.1\tkeep\tdepth=9: deeper is better",
]


def narrow_log(path: Path, rows: Sequence[str] = NARROW_ROWS) -> Path:
    """A five-column table."""
    return write_lines(path, ["\t".join(NARROW), *rows])
