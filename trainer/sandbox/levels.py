"""How well a trial can be kept apart on this machine: four levels, each found out by trying.

A level is offered only when a small process really was confined that way here a moment ago: version numbers and
features on paper say nothing about what an administrator, a container or a hardened kernel forbids.
"""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

TRY_WITHIN_S = 30.0


class Isolation(StrEnum):
    """How well a trial is kept apart, each level including the ones before it."""

    L1 = "L1"
    """Session, resource limits, scrubbed environment, supervisor, watchdog."""
    L2 = "L2"
    """Landlock and seccomp."""
    L3 = "L3"
    """Namespaces of its own, made by bubblewrap."""
    L4 = "L4"
    """A control group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """Whether a level can be had here.

    Attributes:
        why: why it cannot and what to do about it, in a sentence; empty when it can.
    """

    level: Isolation
    ok: bool
    why: str = ""


@functools.cache
def probe() -> tuple[Available, ...]:
    """All four levels, weakest first, tried for real in a process of its own; takes under a second, once."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from trainer.sandbox.level_trial import main; main()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TRY_WITHIN_S, check=False, cwd="/"
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        found = {"L2": f"the attempt to confine a process failed: {error}"}
    levels = [Available(level=Isolation.L1, ok=True)]
    for level in list(Isolation)[1:]:
        why = found.get(level, "") if levels[-1].ok else f"it includes {levels[-1].level}, which cannot be had here"
        levels.append(Available(level=level, ok=not why, why=why))
    return tuple(levels)


def best_isolation() -> Isolation:
    """The best level that can be had on this machine."""
    return max(available.level for available in probe() if available.ok)
