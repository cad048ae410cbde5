"""A small task and the contexts that proposers are asked with."""

from typing import Any

from agents.base import ProposalContext
from memory.records import Phase, Trial, TrialKind, utc_now
from rails.status import FINISHED, Status
from rails.task import Task, task_of

KNOBS: dict[str, Any] = {
    "depth": {"type": "int", "range": [1, 8], "default": 2, "doc": "layers"},
    "width": {"type": "int", "choices": [64, 128, 192, 256], "default": 128, "doc": "residual width"},
    "head_dim": {"type": "int", "choices": [16, 32, 64, 128], "default": 64, "doc": "divides width"},
    "matrix_lr": {"type": "float", "range": [0.001, 0.2], "default": 0.02, "doc": "Muon"},
    "beta2": {"type": "float", "range": [0.8, 0.999], "default": 0.95},
    "warmup": {"type": "float", "range": [0.0, 0.5], "default": 0.0},
    "window": {"type": "str", "choices": ["L", "SL", "SSL"], "default": "L"},
}
RULES = [{"id": "heads", "rule": "width % head_dim == 0", "doc": "whole heads"}]
TRAIN_PY = '''"""A program."""

from dataclasses import dataclass


@dataclass
class Knobs:
    depth: int = 2
    width: int = 128
    head_dim: int = 64
    matrix_lr: float = 0.02
    beta2: float = 0.95
    warmup: float = 0.0
    window: str = "L"


print(Knobs())
'''


def make_task(*, modes: tuple[str, ...] = ("knob",), knobs: dict[str, Any] | None = None, **tables: Any) -> Task:
    """A task over `knobs`; `tables` replace tables of task.toml."""
    own = knobs is not None
    data: dict[str, Any] = {
        "name": "gpt",
        "edit": {"modes": list(modes)},
        "budget": {"kind": "seconds", "amount": 20.0},
        "menu": {"knobs": knobs if own else KNOBS, "cross_constraints": [] if own else RULES},
        **tables,
    }
    return task_of(data)


def make_context(task: Task | None = None, **fields: Any) -> ProposalContext:
    """The first proposal of a campaign on `task`, with `fields` on top."""
    task = task or make_task()
    defaults: dict[str, Any] = {
        "task": task,
        "program_md": "# Policy\n\nTry small things first.",
        "source": TRAIN_PY,
        "knobs": task.menu.defaults(),
        "menu": task.menu,
        "lineage": None,
        "trials": (),
        "trial_seq": 1,
        "attempt": 0,
        "seed": 7,
        "incumbent_metric": 1.746,
    }
    return ProposalContext(**{**defaults, **fields})


def make_trial(
    seq: int, knob: str, value: Any, status: Status | None, gain: float | None = None, **fields: Any
) -> Trial:
    """A trial that changed one knob; `fields` on top."""
    finished = status in FINISHED
    defaults: dict[str, Any] = {
        "trial_id": f"t{seq}",
        "campaign_id": "c",
        "seq": seq,
        "kind": TrialKind.SEARCH,
        "phase": Phase.DECIDED if status else Phase.RUNNING,
        "parent_trial_id": "t0",
        "edit": {"kind": "knob", "knob": knob, "value": value},
        "edit_key": f"{knob}={value}",
        "status": status,
        "reason": "because",
        "metric": 1.746 * (1 - (gain or 0.0)) if finished else None,
        "gain": gain,
        "created_at": utc_now(),
    }
    return Trial(**{**defaults, **fields})
