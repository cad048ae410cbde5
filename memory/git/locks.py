"""Lock files that a killed git process left behind.

git never removes another process's `*.lock`, and a lock does not say whose it is: after a `kill -9` every later git
refuses to work. A lock counts as left behind when no git process lives in the repository and the file has not changed
for a while: long for a git command that holds one, short for a night.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from rails.errors import HaltError

STALE_AFTER_S = 2.0
PATIENCE_S = 10.0
_POLL_S = 0.05
_TOP_LEVEL = ("index.lock", "HEAD.lock", "ORIG_HEAD.lock", "packed-refs.lock", "config.lock")


def wait_for_locks(workspace: Path, git_dirs: Iterable[Path]) -> None:
    """Return when no git lock is in the way: dead ones are removed, live ones waited for.

    Args:
        workspace: the working tree.
        git_dirs: its git folders: the repository's, and the main one's for a linked working tree.

    Raises:
        HaltError: a lock is still held after `PATIENCE_S`.
    """
    folders = list(dict.fromkeys(git_dirs))
    started = time.monotonic()
    first_seen: dict[tuple[Path, int, int], float] = {}
    while locks := _locks(folders):
        now = time.monotonic()
        users = git_processes(workspace, folders)
        for lock in locks:
            if not users and _is_stale(lock, first_seen, now):
                lock.unlink(missing_ok=True)
        if now - started > PATIENCE_S:
            who = f" by {users[0]}" if users else ""
            fix = f"let it finish or end it; when nothing holds the lock, delete {locks[0]}; then run again"
            raise HaltError(f"the git repository is locked{who}", where=str(workspace), fix=fix)
        if users or _locks(folders):
            time.sleep(_POLL_S)


def git_processes(workspace: Path, git_dirs: Iterable[Path]) -> list[str]:
    """Live git processes whose working directory is in the workspace or its git folders, as `process 7 (git gc)`."""
    places = [workspace.resolve(), *(folder.resolve() for folder in git_dirs)]
    found: list[str] = []
    for process in psutil.process_iter(["pid", "name", "cwd", "cmdline", "status"]):
        info = process.info
        if not str(info["name"] or "").startswith("git") or info["status"] == psutil.STATUS_ZOMBIE:
            continue
        folder = Path(info["cwd"]) if info["cwd"] else None
        if folder is not None and any(folder.is_relative_to(place) for place in places):
            found.append(f"process {info['pid']} ({' '.join(info['cmdline'] or [])[:60]})")
    return found


def _locks(folders: list[Path]) -> list[Path]:
    found = [folder / name for folder in folders for name in _TOP_LEVEL if (folder / name).is_file()]
    for folder in folders:
        for ours in ("refs/heads/autoresearch", "refs/nightshift"):
            found += [path for path in (folder / ours).rglob("*.lock") if path.is_file()]
    return found


def _is_stale(lock: Path, first_seen: dict[tuple[Path, int, int], float], now: float) -> bool:
    """Old by its own date, or unchanged for that long under our eyes (the clock may have jumped)."""
    try:
        stat = lock.stat()
    except FileNotFoundError:
        return False
    since = first_seen.setdefault((lock, stat.st_ino, stat.st_mtime_ns), now)
    return time.time() - stat.st_mtime >= STALE_AFTER_S or now - since >= STALE_AFTER_S
