"""Trains random cells of a table again and compares: bit for bit on the same kind of machine."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rails.errors import UserError
from trainer.data.progress import ProgressCallback
from trainer.tabular.recipe import Machine
from trainer.tabular.recorded import Cell, Configuration, RecordedTable
from trainer.tabular.retraining import Retrainer, prepare_text, this_machine

TOLERANCE = 0.01
"""How far a score may be from the recorded one on another kind of machine, relative to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCell:
    """A cell that was trained again."""

    configuration: Configuration
    seed_index: int
    recorded: Cell
    retrained: Cell
    exact: bool
    """Whether score, failure and curve are the recorded ones to the last digit."""
    close: bool
    """Whether the score is within `TOLERANCE` of the recorded one, or it failed as recorded."""

    @property
    def difference(self) -> float | None:
        """Of the scores, relative to the recorded one; None where one failed."""
        if self.recorded.score is None or self.retrained.score is None:
            return None
        return self.retrained.score / self.recorded.score - 1


class Audit:
    """The check of one table.

    Args:
        table: as it was opened.
        progress: told how far the preparing of its text is.

    Raises:
        UserError: it has no recipe, or the text that it was recorded on cannot be had here.
    """

    def __init__(self, table: RecordedTable, progress: ProgressCallback | None = None) -> None:
        if table.facts.recipe is None:
            what = "the table was recorded by others, and does not say how to train a cell"
            raise UserError(what, where=table.name, fix="choose one that comes with nightshift")
        self._table, self.recipe = table, table.facts.recipe
        self.machine: Machine = this_machine()
        self.same_machine = self.machine == self.recipe.machine
        data = prepare_text(self.recipe.package, self.recipe.vocab_size, progress)
        if data.key != self.recipe.data_key:
            text = "text" if data.corpus_sha256 != self.recipe.corpus_sha256 else "tokens (the package tokenizers)"
            what = f"the {text} of {self.recipe.package} is not what the table was recorded on"
            fix = f"install torch {self.recipe.machine.torch_version.partition('+')[0]} as nightshift asks for it"
            raise UserError(what, where=table.name, fix=fix)
        self._retrainer = Retrainer(self.recipe, data)

    def check(self, count: int, seed: int) -> Iterator[CheckedCell]:
        """Train `count` cells again, drawn at random without repeats, and compare each."""
        drawn = random.Random(seed).sample(range(self._table.measurements), min(count, self._table.measurements))
        for number in drawn:
            configuration, seed_index = self._table.measured(number)
            recorded = self._table.cell(configuration, seed_index)
            retrained = self._retrainer.cell(configuration, self.recipe.seeds[seed_index])
            yield CheckedCell(
                configuration=configuration,
                seed_index=seed_index,
                recorded=recorded,
                retrained=retrained,
                exact=_outcome(recorded) == _outcome(retrained),
                close=_close(recorded, retrained),
            )


def _outcome(cell: Cell) -> object:
    """All of a cell that must repeat: not its seconds. Losses are kept in float32."""
    curve = [(point.step, np.float32(point.loss)) for point in cell.curve]
    return cell.score, cell.status, cell.reason, curve


def _close(recorded: Cell, retrained: Cell) -> bool:
    if recorded.score is None or retrained.score is None:
        return recorded.status == retrained.status
    return abs(retrained.score / recorded.score - 1) <= TOLERANCE
