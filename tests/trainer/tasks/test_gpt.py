"""The profiles: task.toml, menu and train.py agree with each other."""

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from rails.source.edits import read_knobs
from rails.task import GptTask, load_task
from trainer.tasks.gpt import PROFILES, DeviceClass, render_task_toml, render_train_py
from trainer.train import Knobs

DEVICES: list[DeviceClass] = ["cpu", "cuda"]


def task_of(device: DeviceClass, folder: Path) -> GptTask:
    path = folder / "task.toml"
    path.write_text(render_task_toml(PROFILES[device]), encoding="utf-8")
    task = load_task(path)
    assert isinstance(task, GptTask)
    return task


@pytest.mark.parametrize("device", DEVICES)
def test_task_toml_is_accepted_and_says_what_the_profile_says(device: DeviceClass, tmp_path: Path) -> None:
    profile, task = PROFILES[device], task_of(device, tmp_path)
    assert task.budget.amount == profile.budget_s and task.data.vocab_size == profile.vocab_size
    assert task.keep.min_gain == profile.min_gain and task.trial.device == device
    assert task.menu.defaults() == profile.values
    assert list(task.menu.knobs) == list(profile.knobs)
    assert all(knob.doc for knob in task.menu.knobs.values())


@pytest.mark.parametrize("device", DEVICES)
def test_train_py_has_the_profiles_values(device: DeviceClass) -> None:
    assert read_knobs(render_train_py(PROFILES[device]), "Knobs") == PROFILES[device].values


def test_the_template_is_the_cpu_profile() -> None:
    assert asdict(Knobs()) == PROFILES["cpu"].values


@pytest.mark.parametrize("device", DEVICES)
def test_single_moves_are_mostly_allowed_by_the_rules(device: DeviceClass, tmp_path: Path) -> None:
    menu = task_of(device, tmp_path).menu
    moves = [(name, value) for name, knob in menu.knobs.items() for value in knob.choices or knob.range or ()]
    broken = [move for move in moves if menu.broken_rule({**menu.defaults(), move[0]: move[1]})]
    assert len(moves) > 70 and len(broken) <= 6


@pytest.mark.parametrize("device", DEVICES)
def test_the_size_estimate_grows_with_what_costs_memory(device: DeviceClass, tmp_path: Path) -> None:
    menu = task_of(device, tmp_path).menu
    assert menu.size is not None
    size = menu.expression(menu.size.memory_bytes)
    base = size.amount(menu.defaults())
    assert base > 200e6
    for name in ("depth", "width", "mlp_ratio", "device_batch_tokens"):
        knob = menu.knobs[name]
        largest = max(value for value in knob.choices or knob.range or () if not isinstance(value, str))
        values = {**menu.defaults(), name: largest}
        if name == "device_batch_tokens":
            values["batch_tokens"] = largest
        assert size.amount(values) > base


def test_every_comment_line_of_the_toml_stays_readable() -> None:
    for profile in PROFILES.values():
        text = render_task_toml(profile)
        tomllib.loads(text)
        comments = [line for line in text.splitlines() if line.startswith("#")]
        assert all(len(line) <= 120 for line in comments)
