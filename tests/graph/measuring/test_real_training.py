"""The real train.py through the real tool: trained in its own process, scored from outside, equal to the last digit."""

from contextlib import closing
from pathlib import Path

import pytest

from rails.source.edits import set_knobs
from rails.task import GptTask, load_task
from tests.support.corpus import make_corpus
from tools.gpt import GptBackend
from trainer.data.prepare import DataSpec, prepare
from trainer.hardware import describe

TRAIN = Path(__file__).resolve().parents[3] / "trainer" / "train.py"
SMALL = {"depth": 1, "width": 64, "head_dim": 32, "seq_len": 64, "batch_tokens": 256, "short_window": 32}
TASK = """
name = "small"
[budget]
kind = "steps"
amount = 30
[data]
corpus = "unused"
vocab_size = 512
eval_seq_len = 64
eval_tokens = 2048
[trial]
device = "cpu"
threads = {threads}
[menu.knobs]
depth = {{type = "int", range = [1, 4], default = 1, doc = "blocks"}}
"""


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """Bits per byte of the same program: twice with one seed, once with another, after no training to speak of."""
    folder = tmp_path_factory.mktemp("real")
    data = prepare(DataSpec(corpus=str(make_corpus(folder / "corpus")), vocab_size=512))
    program = set_knobs(TRAIN.read_text(encoding="utf-8"), "Knobs", SMALL)
    hardware = describe("cpu")
    found: dict[str, list[float]] = {}

    def measure(name: str, threads: int, seed: int, amount: str = "30") -> None:
        path = folder / "task.toml"
        path.write_text(TASK.format(threads=threads).replace("amount = 30", f"amount = {amount}"))
        task = load_task(path)
        assert isinstance(task, GptTask)
        with (
            closing(GptBackend(task, data, hardware, folder / "scratch")) as tool,
            tool.train(program, seed, lambda progress: None) as model,
        ):
            found.setdefault(name, []).append(tool.score(model).value)

    for _ in range(2):
        measure("seed 1", 2, 1)
    measure("seed 2", 2, 2)
    measure("one step", 2, 1, amount="1")
    return found


@pytest.mark.system
def test_the_same_seed_and_steps_give_the_same_score_to_the_last_digit(scores: dict[str, list[float]]) -> None:
    first, second = scores["seed 1"]
    assert first == second


@pytest.mark.system
def test_another_seed_gives_another_score(scores: dict[str, list[float]]) -> None:
    assert scores["seed 1"][0] != scores["seed 2"][0]


@pytest.mark.system
def test_training_helps(scores: dict[str, list[float]]) -> None:
    assert scores["seed 1"][0] < 0.9 * scores["one step"][0]
