"""Finding out which levels can be had, and saying why not in words that a person can act on."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from trainer.sandbox import landlock, level_trial, levels
from trainer.sandbox.levels import Isolation, best_isolation, probe
from trainer.sandbox.permissions import Permissions

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
"""Newer Pythons warn of forking beside threads; the children here only make system calls."""


@pytest.fixture(autouse=True)
def fresh() -> Generator[None]:
    probe.cache_clear()
    yield
    probe.cache_clear()


def answer(monkeypatch: pytest.MonkeyPatch, stdout: str) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout, "")

    monkeypatch.setattr(levels.subprocess, "run", run)


def test_all_levels_are_reported_weakest_first_each_with_a_reason_or_none() -> None:
    found = probe()
    assert [available.level for available in found] == list(Isolation)
    assert all(available.ok == (available.why == "") for available in found)
    assert found[0].ok
    assert best_isolation() == max(available.level for available in found if available.ok)
    assert probe() is found


def test_a_level_includes_the_ones_before(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, json.dumps({"L2": "no Landlock", "L3": "", "L4": ""}))
    _, landlocked, namespaced, grouped = probe()
    assert landlocked.why == "no Landlock"
    assert "L2" in namespaced.why
    assert "L3" in grouped.why
    assert best_isolation() is Isolation.L1


def test_an_attempt_that_fails_is_a_level_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "Segmentation fault")
    assert [available.ok for available in probe()] == [True, False, False, False]


def tried(path: str, tmp_path: Path) -> dict[str, str]:
    """The attempts in a process whose programs are only those in a folder."""
    command = [sys.executable, "-c", "from trainer.sandbox.level_trial import main; main()"]
    root = str(Path(__file__).resolve().parents[3])
    environment = {"PATH": path, "PYTHONPATH": root, "TMPDIR": str(tmp_path)}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_without_bubblewrap_it_says_how_to_install_it(tmp_path: Path) -> None:
    assert "apt install bubblewrap" in tried("/nowhere", tmp_path)["L3"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("bwrap: Unknown option --size", "0.7"),
        ("bwrap: No permissions to create a new namespace", "user namespaces"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "user namespaces"),
    ],
)
def test_what_bubblewrap_says_is_passed_on_with_advice(tmp_path: Path, words: str, advice: str) -> None:
    if landlock.abi() == 0:
        pytest.skip("this kernel has no Landlock")
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    said = tried(str(tmp_path), tmp_path)["L3"]
    assert words in said
    assert advice in said or "AppArmor" in said


def test_a_kernel_without_landlock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(_: object) -> None:
        raise OSError("this kernel has no Landlock, or it is switched off")

    monkeypatch.setattr(level_trial.confine, "enter", none)
    assert "Linux 5.13" in level_trial.landlocked(permissions(tmp_path), tmp_path)


def test_a_confinement_that_does_not_hold_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(_: object) -> None: ...

    monkeypatch.setattr(level_trial.confine, "enter", nothing)
    (tmp_path / "secret").write_text("")
    assert "does not hold" in level_trial.landlocked(permissions(tmp_path), tmp_path)


def test_another_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(level_trial.seccomp, "AUDIT_ARCH", {})
    assert "x86_64 and aarch64" in level_trial.landlocked(permissions(tmp_path), tmp_path)


def permissions(tmp_path: Path) -> Permissions:
    (tmp_path / "scratch").mkdir()
    return level_trial._permissions(Isolation.L2, tmp_path / "scratch")  # pyright: ignore[reportPrivateUsage]
