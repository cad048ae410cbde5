"""A language model as a student by commands: the walk of examples/students in small, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import nightshift
from tests.support.tiny_language import tiny_model

ROOT = Path(__file__).resolve().parents[3]


def test_objectives_and_bases_that_are_none_are_refused(tmp_path: Path) -> None:
    common = ("distill", "train", "--corpus", "nowhere", "--out", "s")
    clone = nightshift(*common, "--base", "smollm2", "--objective", "clone", cwd=tmp_path)
    assert clone.code == 1 and "use listwise or advantage or tokens" in clone.err
    listwise = nightshift(*common, "--objective", "listwise", cwd=tmp_path)
    assert listwise.code == 1 and "use advantage or clone" in listwise.err


@pytest.mark.slow
def test_the_walk_of_the_examples_from_first_to_last_command(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "nightshift").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
    (commands / "nightshift").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "OMP_NUM_THREADS": "1",
    }
    walk = ["bash", str(ROOT / "examples/students/small.sh"), str(tmp_path / "walk"), "8", str(model)]
    done = subprocess.run(walk, env=env, capture_output=True, text=True, timeout=5400)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("./embedded", "./language", "marginal", "uniform"):
        assert name in done.stdout
    assert (tmp_path / "walk" / "next-language" / ".nightshift" / "report.html").is_file()
    assert (tmp_path / "walk" / "language" / "adapter_model.safetensors").is_file()
