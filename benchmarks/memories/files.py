"""Long logs in files, for `benchmarks/memory.py`: one made-up campaign in every format that `analyze` reads."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from memory.exports.formats import ExportFormat  # noqa: E402
from memory.exports.write import export_records  # noqa: E402
from memory.record_set import RecordSet  # noqa: E402
from memory.records import Trial  # noqa: E402
from rails.status import Status  # noqa: E402
from tests.support.many_trials import many_trials  # noqa: E402

OURS = {
    "our JSONL": ExportFormat.JSONL,
    "our Parquet": ExportFormat.PARQUET,
    "results.tsv, 18 columns": ExportFormat.LINEAGE_TSV,
    "results.tsv, 5 columns": ExportFormat.RESULTS_TSV,
}
CONFIG: dict[str, Any] = {
    **{"depth": 4, "width": 128, "d_ff": 512, "lr": 0.02, "warmup": 0.1, "grad_clip": 1.0, "weight_decay": 0.0},
    **{"beta1": 0.9, "beta2": 0.95, "batch_size": 16, "seq_len": 1024, "precision": "bf16", "vocab_size": 50257},
    **{"steps": 60, "val_chunk_tokens": 16384, "softcap": 0, "seed": 0},
}
"""As many settings as the configuration of a real menu loop has, which stands in each of its lines."""

STAGES = {
    Status.KEEP: "evaluated",
    Status.DISCARD: "evaluated",
    Status.RAIL_BLOCKED: "blocked",
    Status.INTERRUPTED: "paused",
    Status.HARNESS_ABORT: "nim_error",
}


def make_files(folder: Path, trials: int) -> dict[str, Path]:
    """A file of each format with so many search trials, by the name of the format."""
    made = many_trials(trials)
    records = RecordSet(
        campaign=made.campaign,
        trials=made.trials,
        measurements=made.measurements,
        calls=made.calls,
        verdicts=made.verdicts,
        lessons=made.lessons,
    )
    folder.mkdir()
    files = {"menu-loop JSONL": folder / "menu-loop"}
    files["menu-loop JSONL"].write_text("".join(f"{json.dumps(line)}\n" for line in menu_lines(made.trials)))
    for name, export_format in OURS.items():
        files[name] = folder / export_format
        export_records(records, export_format, files[name])
    return files


def menu_lines(trials: list[Trial]) -> Iterator[dict[str, Any]]:
    """The lines of a menu loop, about 1 kB each as in a real one."""
    start = trials[0].metric
    yield {"_meta": "trajectory log", "baseline_val_bpb": start, "baseline_cfg": CONFIG, "accept_delta_frac": 0.005}
    for trial in trials[1:]:
        edit = trial.edit or {}
        line: dict[str, Any] = {
            "iter": trial.seq,
            "ts": f"{trial.created_at:%Y-%m-%d %H:%M:%S}",
            "stage": STAGES.get(trial.status or Status.CRASH, "eval_failed"),
            "verdict_ok": trial.status is not Status.RAIL_BLOCKED,
            "proposal": {"knob": edit["knob"], "new_value": edit["value"], "reason": trial.hypothesis},
            "diff": trial.diff,
            "nim_latency_s": trial.propose_s,
            "iter_wall_s": trial.total_s,
        }
        if trial.metric is not None:
            line |= _scored(trial, edit, start)
        yield line


def _scored(trial: Trial, edit: dict[str, Any], start: float | None) -> dict[str, Any]:
    measured = {"params_m": 354.6, "train_steps": 60, "train_loss_first": 10.996, "train_loss_last": 7.446}
    times = {"mean_step_ms": 1196.36, "train_wall_s": trial.train_s, "val_wall_s": trial.score_s}
    return {
        "candidate_cfg": {**CONFIG, edit["knob"]: edit["value"]},
        "eval_metrics": {"ok": True, **measured, "val_bpb": trial.metric, **times, "peak_gpu_mem_gib": 24.31},
        "val_bpb": trial.metric,
        "baseline_val_bpb": start,
        "improvement_frac": trial.gain,
        "decision": "keep" if trial.status is Status.KEEP else "revert",
        "is_new_best": trial.status is Status.KEEP,
    }
