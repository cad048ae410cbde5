"""Tools that read the campaign's record: near misses, ideas, what was tried of a knob, and SQL over the views.

Everything comes from an injected read interface and goes out as a short table: a model's context is small, and a tool
that floods it is worse than none.
"""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.tools import BaseTool, StructuredTool

from memory.keep.near_misses import NearMiss
from memory.lineage.prospects import Combination, Opposite
from memory.records import Trial
from rails.status import QUARANTINED
from rails.text import clean_text, shorten

MAX_ROWS = 20
MAX_CHARS = 2_000
MAX_CELL_CHARS = 120
IDEAS_OF_A_KIND = 5
MAX_SENTENCE_CHARS = 240
MAX_DIFF = 40
"""Lines of a trial's diff that are shown."""


class QueryAnswer(Protocol):
    """What a query returns: `memory.reader.QueryResult`."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        ...

    @property
    def rows(self) -> list[list[Any]]:
        """Plain values, row by row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ideas:
    """What the record suggests and nobody has tried, the best evidence first."""

    combinations: Sequence[Combination]
    opposites: Sequence[Opposite]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Read access to the record of a campaign."""

    near_misses: Callable[[int], Sequence[NearMiss]]
    """At most that many near misses, best evidence first."""
    ideas: Callable[[int], Ideas]
    """At most that many ideas of each kind."""
    query: Callable[[str], QueryAnswer]
    """Answers one SELECT over the documented views; raises NightshiftError for anything else."""


def build_trajectory_tools(trials: Sequence[Trial], trajectory: Trajectory | None) -> list[BaseTool]:
    """The tools over a campaign's record.

    Args:
        trials: the campaign's trials by seq.
        trajectory: read access to the store; without it there are only the tools over `trials`.

    Returns:
        `tried_values` and `show_trial`, and with a trajectory `near_misses`, `ideas` and `query`.
    """

    def tried_values(knob: str) -> str:
        """List the values of one knob that were tried, with status and relative gain of each."""
        found = [_tried_row(trial) for trial in trials if _is_move(trial, knob)]
        return table(["trial", "value", "status", "gain", "reason"], found) if found else "never tried"

    def show_trial(trial: int) -> str:
        """Show one trial: its edit, what was hoped, what came of it, and the change of the code."""
        found = next((row for row in trials if row.seq == trial and row.status is not None), None)
        return _whole_trial(found) if found else f"there is no decided trial {trial}"

    tools: list[BaseTool] = [StructuredTool.from_function(tool) for tool in (tried_values, show_trial)]
    if trajectory is not None:
        tools += _store_tools(trajectory)
    return tools


def _store_tools(trajectory: Trajectory) -> list[BaseTool]:
    def near_misses(limit: int = 5) -> str:
        """List discarded trials that may still be worth something, best evidence first."""
        found = trajectory.near_misses(max(1, min(limit, MAX_ROWS)))
        rows = [[miss.trial, miss.edit, miss.gain, miss.gain_low, miss.gain_high, miss.p_improve] for miss in found]
        return table(["trial", "edit", "gain", "gain_low", "gain_high", "p_improve"], rows) if rows else "none"

    def ideas() -> str:
        """List pairs of near misses that were never tried together, and the other side of moves that lost clearly."""
        found = trajectory.ideas(IDEAS_OF_A_KIND)
        rows = [*map(_pair_row, found.combinations), *map(_opposite_row, found.opposites)]
        return table(["idea", "knobs", "because"], rows) if rows else "none"

    def query(sql: str) -> str:
        """Answer one SQL SELECT over the views trials, measurements, curves, verdicts, lessons and near_misses."""
        answer = trajectory.query(sql)
        return table(answer.columns, answer.rows)

    return [StructuredTool.from_function(tool) for tool in (near_misses, ideas, query)]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table of at most `MAX_ROWS` rows and `MAX_CHARS` characters, cut at a row and saying so."""
    lines = [" | ".join(_cells(columns))]
    size = len(lines[0])
    for row in rows[:MAX_ROWS]:
        line = " | ".join(_cells(row))
        size += len(line) + 1
        if size > MAX_CHARS:
            break
        lines.append(line)
    left_out = len(rows) - (len(lines) - 1)
    text = shorten("\n".join(lines), MAX_CHARS)
    return f"{text}\n({left_out} more rows)" if left_out else text


def _cells(values: Iterable[Any]) -> list[str]:
    return [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return clean_text(text, MAX_CELL_CHARS)


def _pair_row(pair: Combination) -> list[Any]:
    settings = (pair.first, pair.second)
    knobs = ", ".join(f"{setting.knob}={setting.value}" for setting in settings)
    gains = ", ".join(f"trial {setting.trial} {setting.gain or 0.0:+.4f}" for setting in settings)
    return ["together", knobs, f"near misses: {gains}"]


def _opposite_row(idea: Opposite) -> list[Any]:
    because = f"{idea.lost_at} lost in trial {idea.trial}: {idea.gain:+.4f}; it stands at {idea.start}"
    return ["opposite", f"{idea.knob}={idea.value}", because]


def _is_move(trial: Trial, knob: str) -> bool:
    return trial.edit is not None and trial.edit.get("knob") == knob and trial.status not in QUARANTINED


def _whole_trial(trial: Trial) -> str:
    """One trial in a few lines; texts of models and programs are cleaned."""
    gain = "-" if trial.gain is None else f"{trial.gain:+.4f}"
    lines = [
        f"trial {trial.seq}: {clean_text(trial.edit_key or 'no edit', MAX_CELL_CHARS)}, {trial.status}, gain {gain}",
        f"hoped: {clean_text(trial.hypothesis or '-', MAX_SENTENCE_CHARS)}",
        f"because: {clean_text(trial.reason or '-', MAX_SENTENCE_CHARS)}",
        f"lesson: {clean_text(trial.lesson or '-', MAX_SENTENCE_CHARS)}",
    ]
    return "\n".join(
        [*lines, *(clean_text(line, MAX_CELL_CHARS) for line in (trial.diff or "").splitlines()[:MAX_DIFF])]
    )


def _tried_row(trial: Trial) -> list[Any]:
    value = (trial.edit or {}).get("value")
    return [trial.seq, value, str(trial.status or "running"), trial.gain, None if trial.metric else trial.reason]
