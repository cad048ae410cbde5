"""The backend of tabular tasks: a program's knobs in, what was recorded of them out. Nothing is run or invented."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rails.errors import HaltError, TrialError, UserError
from rails.menu import KnobValue
from rails.source.edits import read_knobs
from rails.source.program import Literal
from rails.status import Status
from rails.task import TabularTask
from rails.text import quote
from tools.backend import Progress, Score

if TYPE_CHECKING:
    from trainer.scoring.report import ProbeReport
    from trainer.tabular.recorded import RecordedTable


@lru_cache(maxsize=2)
def open_recorded(name: str) -> "RecordedTable":
    """The table of this name, read once in a process.

    Raises:
        UserError: there is none, or it is damaged.
    """
    from trainer.tabular.table import open_table  # pyarrow, which nothing else of a campaign needs

    return open_table(name)


def check_task(task: TabularTask, table: "RecordedTable") -> None:
    """Make sure that a task speaks of its table as it is.

    Raises:
        UserError: another metric, or a knob that the table does not have.
    """
    where, metric = "task.toml", task.metric
    for key, said, known in (
        ("name", metric.name, table.metric_name),
        ("direction", metric.direction, table.direction),
    ):
        if said != known:
            what = f"the table {table.name} records {quote(known)}, not {quote(said)}"
            raise UserError(what, where=f"{where}: metric.{key}", fix=f"set it to {quote(known)}")
    if task.menu.knobs.keys() != table.menu.knobs.keys():
        what = f"the table {table.name} has the knobs {', '.join(table.menu.knobs)}, all of them and no others"
        raise UserError(what, where=f"{where}: menu.knobs", fix="make them agree")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """A configuration that was found in the table, as a trained program."""

    value: float
    train_s: float
    curve: tuple[Progress, ...]
    startup_s: float = 0.0
    witnesses: Mapping[str, object] = field(default_factory=dict[str, object])

    def close(self) -> None:
        """Nothing runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TabularBackend:
    """Answers from a table at once; see `tools.backend.Backend`.

    The seeds of a configuration are handed out in an order that the campaign's seed draws, each once; programs are
    compared on equal ones. Seconds are those that were recorded.

    Args:
        table: what was recorded.
        class_name: the class of the program whose fields are the configuration.
    """

    wall_clock = False
    deterministic = True
    probes = False
    isolation = "recorded"
    memory_limit_bytes = None
    beside = None

    def __init__(self, table: "RecordedTable", class_name: str) -> None:
        self._table, self._class_name = table, class_name
        self._clock_s = 0.0
        self._stopped = False
        self._order: tuple[int, tuple[int, ...]] | None = None
        first = table.cell(table.menu.defaults(), 0)
        self._steps = max((step for step, _, _ in first.curve), default=0)

    @property
    def reports_progress(self) -> bool:
        """Whether curves were recorded."""
        return self._steps > 0

    def clock_s(self) -> float:
        """Recorded seconds so far: what waits for a model or a disk meanwhile is not counted."""
        return self._clock_s

    def seeds(self, program: str) -> int:
        """As many as were recorded of its configuration."""
        return self._table.seeds(self._config(program))

    def true_score(self, program: str) -> float | None:
        """What its configuration scores without noise, as the table has it."""
        return self._table.true_mean(self._config(program))

    def outside(self, values: Mapping[str, Literal]) -> str | None:
        """Why a configuration is not in the table, or None."""
        config = {name: value for name, value in values.items() if name in self._table.menu.knobs}
        if self._table.seeds(config):
            return None
        shown = ", ".join(f"{name}={quote(value)}" for name, value in config.items())
        return f"this configuration was not recorded in the table {self._table.name}: {shown}"

    def fraction(self, progress: Progress) -> float:
        """By the steps of the starting point."""
        return min(1.0, progress.step / self._steps) if self._steps else 0.0

    def training_seed(self, campaign_seed: int, seed_index: int) -> int:
        """Which recorded seed stands at a place of the campaign's order; beyond the last the place itself.

        Where configurations have different numbers of seeds, those that all have come first.
        """
        if self._order is None or self._order[0] != campaign_seed:
            self._order = campaign_seed, _order(sorted(set(self._table.seeds_recorded())), campaign_seed)
        order = self._order[1]
        return order[seed_index] if seed_index < len(order) else seed_index

    def warm_up(self, program: str) -> None:
        """There is nothing to wait for."""

    def try_out(self, program: str, seed: int) -> None:
        """Nothing: a recorded program holds no code."""

    def train(self, program: str, seed: int, on_progress: Callable[[Progress], None]) -> LookedUp:
        """Look up what was recorded; its seconds pass as its curve is told.

        Raises:
            TrialError: a failure was recorded, or the loop was asked to stop.
            HaltError: there is no such cell.
        """
        if self._stopped:
            raise TrialError(Status.INTERRUPTED, "interrupted before training started")
        config = self._config(program)
        recorded = self._table.seeds(config)
        if not 0 <= seed < recorded:
            raise HaltError(
                f"seed {seed} was asked for of a configuration with {recorded} recorded seeds",
                where=f"the table {self._table.name}",
                fix="nothing is drawn twice: ask for fewer measurements ([keep] max_measurements, [baseline] seeds)",
            )
        cell = self._table.cell(config, seed)
        begun, curve = self._clock_s, list[Progress]()
        for step, loss, elapsed_s in cell.curve:
            point = Progress(step=step, tokens=0, elapsed_s=elapsed_s, loss=loss)
            self._clock_s = begun + min(elapsed_s, cell.seconds)
            curve.append(point)
            on_progress(point)
        self._clock_s = begun + cell.seconds
        if cell.status is not None or cell.score is None or not math.isfinite(cell.score):
            raise TrialError(cell.status or Status.CRASH, cell.reason or "a failure was recorded")
        return LookedUp(value=cell.score, train_s=cell.seconds, curve=tuple(curve))

    def take_trained(self, program: str, seed: int) -> None:
        """There is none: looking up takes no time."""

    def score(self, model: LookedUp) -> Score:
        """What was recorded."""
        return Score(value=model.value, parts={"steps": model.curve[-1].step} if model.curve else {})

    def score_test(self, model: LookedUp) -> None:
        """Nothing was held back."""

    def probe(self, model: LookedUp, depths: Mapping[str, object], tolerance_nats: float) -> "list[ProbeReport]":
        """A table cannot cheat."""
        return []

    def stop(self, scoring_grace_s: float = 0.0) -> None:
        """Look up nothing any more."""
        self._stopped = True

    def close(self) -> None:
        """Nothing runs."""

    def _config(self, program: str) -> dict[str, KnobValue]:
        knobs = self._table.menu.knobs
        return {
            name: knobs[name].normalise(value)
            for name, value in read_knobs(program, self._class_name).items()
            if name in knobs
        }


def _order(levels: Sequence[int], campaign_seed: int) -> tuple[int, ...]:
    """All recorded seeds, shuffled within what further configurations have."""
    drawn, order, start = random.Random(campaign_seed), list[int](), 0
    for level in levels:
        block = list(range(start, level))
        drawn.shuffle(block)
        order += block
        start = level
    return tuple(order)
