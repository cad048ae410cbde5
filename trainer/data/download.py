"""Files into a folder: from the Hugging Face hub by its own library, from any other http(s) address as they come.

A file appears under its own name only when it is whole and passes its check, so a file that is there is good, and a
later process asks only for what is missing.
"""

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]  # before huggingface_hub

import errno
import fcntl
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import unquote

from rails.errors import UserError
from trainer.data.progress import Meter, ProgressCallback

WORKERS = 8
ATTEMPTS = 5
FIRST_WAIT_S = 1.0
"""After the first attempt; each further wait is twice as long."""
SILENCE_S = 30.0
"""The longest silence of a server."""
CHUNK_BYTES = 1 << 20
PASSING_CODES = frozenset({408, 425, 429, 500, 502, 503, 504})
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
HUB = "https://huggingface.co"
_HUB_FILE = re.compile(r"(?:(dataset|space)s/)?([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)")
_HUB_FOLDER = ".hub"
"""Where the hub's library works, inside the folder that the files go to."""

Check = Callable[[Path], str | None]
"""Looks at a complete file and returns what is wrong with it, or None."""
Received = Callable[[int], None]
"""Told of bytes as they arrive; raises OSError to stop."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to have."""

    url: str
    path: Path
    """Where it goes; the folder exists."""


def _fetch(url: str, part: Path, received: Received) -> None:
    """Bring a file to `part`. A file of the hub, or of the mirror that HF_ENDPOINT names, is known by its address."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    for host in (HUB, endpoint):
        found = _HUB_FILE.fullmatch(url.removeprefix(f"{host}/"))
        if found:
            _fetch_from_hub(found, endpoint, part, received)
            return
    request = urllib.request.Request(url, headers={"User-Agent": "nightshift"})
    with urllib.request.urlopen(request, timeout=SILENCE_S) as response, part.open("wb") as file:  # http(s): checked
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            received(len(chunk))
        if response.length:
            raise OSError(f"the connection ended {response.length} bytes too early")


def _fetch_from_hub(place: re.Match[str], endpoint: str, part: Path, received: Received) -> None:
    from httpx2 import HTTPError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """Draws nothing."""

        def __init__(self, **_: object) -> None:
            super().__init__(disable=True)

        def update(self, n: float | None = 1) -> None:
            received(int(n or 0))

    try:
        whole = hf_hub_download(
            repo_id=place[2],
            filename=unquote(place[4]),
            repo_type=place[1],
            revision=unquote(place[3]),
            endpoint=endpoint,
            local_dir=part.parent / _HUB_FOLDER,
            tqdm_class=Bar,
        )
    except (HTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        # The last says that the file is not in a cache; its cause, why it could not be had.
        why = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
        raise why if isinstance(why, OSError) else OSError(str(why) or type(why).__name__) from error
    os.replace(whole, part)


def _refusal(error: Exception) -> str | None:
    """What a server answered, when asking again will not help."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer as well
        code, reason = error.code, error.reason
    else:
        response = getattr(error, "response", None)  # of the hub's errors
        code, reason = getattr(response, "status_code", None), getattr(response, "reason_phrase", "")
    return None if code is None or code in PASSING_CODES else f"{code} {reason}".rstrip()


def _download(remote: Remote, check: Check, meter: Meter, stop: Event) -> None:
    part, wrong = remote.path.with_name(remote.path.name + ".part"), None

    def received(size: int) -> None:
        meter.add(size)
        if stop.is_set():
            raise OSError("stopped")

    for attempt in range(ATTEMPTS):
        if attempt and stop.wait(FIRST_WAIT_S * 2 ** (attempt - 1)):
            return
        try:
            _fetch(remote.url, part, received)
            wrong = check(part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            refusal = _refusal(error)
            if refusal is not None:
                fix = (
                    "check the address, the shard name pattern and the number of shards; "
                    "what the hub does not show to all needs HF_TOKEN"
                )
                raise UserError(f"the server refused with {refusal}", where=remote.url, fix=fix) from error
            wrong = (str(error) or type(error).__name__).partition("\n")[0]
        if wrong is None:
            os.replace(part, remote.path)
            return
        part.unlink(missing_ok=True)
    fix = "check the network and run again: it goes on with what is missing"
    raise UserError(f"could not download: {wrong}, {ATTEMPTS} times in a row", where=remote.url, fix=fix)


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Hold the folder, so that two processes do not write to one `.part`; the second finds everything there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        shutil.rmtree(folder / _HUB_FOLDER, ignore_errors=True)  # with what a killed process left there by halves
        os.close(handle)


def download_all(remotes: Sequence[Remote], check: Check, progress: ProgressCallback | None = None) -> None:
    """Have every file, downloading what is missing. All of them go to one folder, which exists.

    Args:
        remotes: the files; one that is there and passes its check is not asked for.
        check: tells a good file.
        progress: told the bytes received.

    Raises:
        UserError: an address is not http(s), a server refused, or could not be reached often enough. Files that were
            downloaded stay.
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
            futures = [pool.submit(_download, remote, check, meter, stop) for remote in missing]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()  # the others end at their next chunk
        for future in done:
            future.result()
        meter.finish()
