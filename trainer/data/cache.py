"""The cache of prepared data: whole directories, named by a key of their content, never half-made.

An entry is built in a directory with a temporary name and renamed when it is complete and on disk. Whatever a killed
process left has a temporary name, so nothing trusts it, and the next build sweeps it away.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from rails.errors import UserError
from trainer.data.shards import read_meta

TEMPORARY = ".tmp-"


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/nightshift`, or `~/.cache/nightshift`."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "nightshift"


def entry_path(cache: Path, key: str) -> Path:
    """Where the entry of this key is, or will be."""
    return cache / "data" / key[:16]


def train_dir(entry: Path) -> Path:
    """The part of an entry that a trial may read."""
    return entry / "train"


def private_dir(entry: Path) -> Path:
    """The part of an entry that only the scoring parent reads."""
    return entry / "private"


def wrong_with(entry: Path, key: str) -> str | None:
    """What is wrong with an entry after checking every file's size and hash, or None."""
    try:
        for part in (train_dir(entry), private_dir(entry)):
            if read_meta(part, hashes=True).get("key") != key:
                return f"{part.name} belongs to other data"
    except UserError as error:
        return error.what
    return None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left: temporary directories that nobody holds a lock on."""
    for path in folder.glob(f"{TEMPORARY}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody is building there
        finally:
            os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(built: Path, entry: Path, key: str) -> None:
    """Give the finished build its name. An entry that is there and good wins; one that is damaged is replaced."""
    for folder, _, names in os.walk(built):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
    while True:
        try:
            os.rename(built, entry)  # fails when the entry exists, since it is not empty
        except OSError:
            if not entry.exists():
                raise
            if wrong_with(entry, key) is None:
                return
            graveyard = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=entry.parent))
            with suppress(FileNotFoundError):  # another process may have moved it just now
                os.rename(entry, graveyard / entry.name)
            shutil.rmtree(graveyard, ignore_errors=True)
        else:
            _sync(entry.parent)
            return


def _temporary(folder: Path) -> tuple[Path, int]:
    """A new directory and a handle that holds its lock, which tells `_sweep` that somebody is building there."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists():  # else another process swept it before it was locked
                return path, handle
            os.close(handle)


@contextmanager
def building(entry: Path, key: str) -> Generator[Path]:
    """A directory to build an entry in; when the block ends well it becomes the entry, else it is removed.

    Two processes may build the same entry at once: each builds its own, the first to finish gives it its name.

    Raises:
        OSError: the disk is full, or the cache cannot be written.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    _sweep(entry.parent)
    built, handle = _temporary(entry.parent)
    try:
        train_dir(built).mkdir()
        private_dir(built).mkdir(mode=0o700)
        yield built
        built.chmod(0o755)
        _publish(built, entry, key)
    finally:
        os.close(handle)
        shutil.rmtree(built, ignore_errors=True)
