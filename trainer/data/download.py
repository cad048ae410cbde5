"""Files over HTTP: in parallel, resumed, retried, and in place only when whole.

A file grows as `NAME.part` and is renamed when it is complete and passes its check, so a file under its own name is
always good. A later attempt, or a later process, goes on where the last one ended when the server knows ranges.
"""

import errno
import fcntl
import http.client
import os
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rails.errors import UserError
from trainer.data.progress import Meter, ProgressCallback

WORKERS = 8
CHUNK_BYTES = 1 << 20
PASSING_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Check = Callable[[Path], str | None]
"""Looks at a complete file and returns what is wrong with it, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long to go on trying. Waits double from `first_wait_s` to `longest_wait_s`, less up to half at random."""

    attempts: int = 5
    """Attempts in a row that brought nothing new; progress starts the count again."""
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    timeout_s: float = 30.0
    """The longest silence of a server."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to have."""

    url: str
    path: Path
    """Where it goes; the folder exists."""


class _TryAgainError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _tag(path: Path) -> Path:
    return path.with_name(path.name + ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(path: Path) -> None:
    _part(path).unlink(missing_ok=True)
    _tag(path).unlink(missing_ok=True)


def _request(remote: Remote) -> urllib.request.Request:
    """Ask for what is missing; If-Range makes a server whose file has changed send all of it."""
    request = urllib.request.Request(remote.url, headers={"User-Agent": "nightshift", "Accept-Encoding": "identity"})
    have = _size(_part(remote.path))
    if have:
        request.add_header("Range", f"bytes={have}-")
        if _tag(remote.path).exists():
            request.add_header("If-Range", _tag(remote.path).read_text(encoding="ascii"))
    return request


def _receive(remote: Remote, response: http.client.HTTPResponse, meter: Meter, stop: Event) -> None:
    """Append (206) or write anew (200) what the server sends, and check that it sent all it announced."""
    part, have = _part(remote.path), _size(_part(remote.path))
    resumed = response.status == 206
    if resumed and not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
        _forget(remote.path)
        raise _TryAgainError("the server answered with another range than was asked for")
    if not resumed:
        have = 0
        etag = response.headers.get("ETag") or ""
        _tag(remote.path).unlink(missing_ok=True)
        if etag.startswith('"') and etag.isascii():  # a weak tag is not good for ranges
            _tag(remote.path).write_text(etag, encoding="ascii")
    announced = response.headers.get("Content-Length")
    with part.open("ab" if resumed else "wb") as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            meter.add(len(chunk))
            if stop.is_set():
                raise _TryAgainError("stopped")
        file.flush()
        os.fsync(file.fileno())
    if announced is not None and announced.isdecimal() and _size(part) != have + int(announced):
        raise _TryAgainError(f"the connection ended after {_size(part)} of {have + int(announced)} bytes")


def _answer_to(error: urllib.error.HTTPError, remote: Remote) -> None:
    """Return when the part is already whole; else raise what the status code means."""
    if error.code == 416:
        if (error.headers.get("Content-Range") or "") == f"bytes */{_size(_part(remote.path))}":
            return
        _forget(remote.path)
        raise _TryAgainError("the server's file is shorter than what was downloaded")
    if error.code not in PASSING_CODES:
        raise UserError(
            f"the server refused with {error.code} {error.reason}",
            where=remote.url,
            fix="check the address, the shard name pattern and the number of shards",
        )
    after = error.headers.get("Retry-After") or ""
    raise _TryAgainError(f"the server answered {error.code} {error.reason}", float(after) if after.isdecimal() else 0.0)


def _attempt(remote: Remote, check: Check, retry: Retry, meter: Meter, stop: Event) -> None:
    try:
        with urllib.request.urlopen(_request(remote), timeout=retry.timeout_s) as response:  # http(s): checked before
            _receive(remote, response, meter, stop)
    except urllib.error.HTTPError as error:
        with error:
            _answer_to(error, remote)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise _TryAgainError(str(error) or type(error).__name__) from error
    wrong = check(_part(remote.path))
    if wrong is not None:
        _forget(remote.path)
        raise _TryAgainError(wrong)
    os.replace(_part(remote.path), remote.path)
    _tag(remote.path).unlink(missing_ok=True)


def _download(remote: Remote, check: Check, retry: Retry, meter: Meter, stop: Event) -> None:
    failures, furthest = 0, _size(_part(remote.path))
    while not stop.is_set():
        try:
            return _attempt(remote, check, retry, meter, stop)
        except _TryAgainError as error:
            size = _size(_part(remote.path))
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures >= retry.attempts:
                raise UserError(
                    f"could not download: {error}, {failures} times in a row",
                    where=remote.url,
                    fix="check the network and run again: it goes on where it stopped",
                ) from error
            pause = min(retry.longest_wait_s, retry.first_wait_s * 2 ** (failures - 1))
            stop.wait(max(pause * random.uniform(0.5, 1.0), min(error.wait_s, retry.longest_wait_s)))


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Hold the folder, so that two processes do not append to one `.part`; the second finds everything there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def download_all(
    remotes: Sequence[Remote], check: Check, retry: Retry, progress: ProgressCallback | None = None
) -> None:
    """Have every file, downloading what is missing. All of them go to one folder, which exists.

    Args:
        remotes: the files; one that is there and passes its check is not asked for.
        check: tells a good file.
        retry: how long to try.
        progress: told the bytes received.

    Raises:
        UserError: an address is not http(s), a server refused, or could not be reached often enough. What was
            downloaded stays.
        OSError: the disk is full, or the folder cannot be written.
    """
    for remote in remotes:
        if not remote.url.startswith(("http://", "https://")):
            raise UserError("not an http or https address", where=remote.url, fix="correct the corpus address")
    if not remotes:
        return
    stop = Event()
    with _alone_in(remotes[0].path.parent), ThreadPoolExecutor(WORKERS, "download") as pool:
        missing = [remote for remote in remotes if not remote.path.exists() or check(remote.path) is not None]
        if not missing:
            return
        meter = Meter(progress, f"downloading {len(missing)} of {len(remotes)} shards", unit="bytes")
        try:
            futures = [pool.submit(_download, remote, check, retry, meter, stop) for remote in missing]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()  # the others end at their next chunk, and leave their parts
        for future in done:
            future.result()
        meter.finish()
