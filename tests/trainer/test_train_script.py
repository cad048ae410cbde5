"""train.py as a file: importing it does nothing, running it trains, and no knob of the menu breaks it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.tiny_session import TINY, TinySession, train_tiny
from tests.support.variants import firsts
from trainer import train
from trainer.data.prepare import DataSpec, prepare
from trainer.tasks.gpt import PROFILES, MenuEntry

SCRIPT = Path(train.__file__)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number in range(120):
        text = "".join(f"def f_{number}_{line}(x):\n    return x * {line} + {number}\n" for line in range(12))
        (folder / f"module_{number}.py").write_text(text)
    return prepare(DataSpec(corpus=str(folder), vocab_size=300), tmp_path_factory.mktemp("cache")).train_dir


@pytest.mark.system
def test_it_trains_by_hand_and_prints_the_summary_but_no_score(data_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--steps", "3", "--data", str(data_dir), "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    summary = dict(line.split(": ") for line in done.stdout.split("---\n")[1].splitlines())
    assert summary["num_steps"] == "3" and summary["depth"] == "2"
    assert {"training_seconds", "total_seconds", "total_tokens_M", "num_params_M"} <= summary.keys()
    assert not any("bpb" in key for key in summary)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_importing_it_does_nothing_and_needs_only_torch_numpy_and_the_session() -> None:
    code = (
        "import sys, gc, torch; state = torch.random.get_rng_state();"
        "import trainer.train; assert gc.isenabled();"
        "assert torch.equal(state, torch.random.get_rng_state());"
        "assert not {'guardrails', 'duckdb', 'langgraph', 'git', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names | {"torch", "numpy"}}
    assert ours == {"trainer.session"}


@pytest.mark.system
def test_a_loss_that_is_not_a_number_ends_the_run() -> None:
    class Poisoned(TinySession):
        def start(self, **kwargs: Any) -> None:
            super().start(**kwargs)
            with torch.no_grad():
                model.head.fill_(torch.nan)

    session = Poisoned(steps=50)
    model = train.build(train.Knobs(**TINY), session)
    with pytest.raises(SystemExit, match="NaN"):
        train.train(model, train.Knobs(**TINY), session)
    assert len(session.losses) == 1


@pytest.mark.parametrize("values", [{}, {"value_embeds": "none", "window_pattern": "SL", "depth": 3}])
def test_a_model_is_all_in_what_it_saves(values: dict[str, Any]) -> None:
    knobs, session = train.Knobs(**{**TINY, **values}), TinySession(steps=3)
    trained = train_tiny(knobs, session).eval()
    loaded = train.build(knobs, TinySession(seed=9))
    tokens = torch.arange(64).view(2, 32)
    assert not torch.equal(loaded.logits(tokens), trained.logits(tokens))
    train.load(loaded, session)
    assert torch.equal(loaded.eval().logits(tokens), trained.logits(tokens))


def test_garbage_collection_is_back_after_training() -> None:
    import gc

    train_tiny(train.Knobs(**TINY), TinySession())
    assert gc.isenabled() and gc.get_freeze_count() == 0


def moves(knobs: dict[str, MenuEntry]) -> Iterator[object]:
    """Every value of every knob as parameters: the last of every sixth knob each time, of every knob with --all."""
    for number, (name, entry) in enumerate(knobs.items()):
        last, *others = (type(entry.default)(value) for value in reversed(entry.allowed))
        yield pytest.param(name, last, marks=pytest.mark.system if number % 6 else [])
        yield from firsts(0, [(name, value) for value in others])


def tiny_with(name: str, value: Any) -> train.Knobs:
    """The tiny model with one knob moved; what must follow for the rules to hold, follows."""
    values = {**TINY, name: value}
    values["width"] = max(int(values["width"]), int(values["head_dim"]))
    values["batch_tokens"] = max(int(values["batch_tokens"]), int(values["seq_len"]))
    if name != "device_batch_tokens":
        values["device_batch_tokens"] = max(int(values["device_batch_tokens"]), int(values["seq_len"]))
    if name == "batch_tokens":
        values["device_batch_tokens"] = min(int(value), 4096)
    return train.Knobs(**values)


@pytest.mark.parametrize(("name", "value"), list(moves(dict(PROFILES["cpu"].knobs))))
def test_every_end_of_the_menu_builds_and_trains(name: str, value: Any) -> None:
    session = TinySession(steps=2)
    train_tiny(tiny_with(name, value), session)
    assert len(session.losses) == 2
    assert session.summary["depth"] >= 1
