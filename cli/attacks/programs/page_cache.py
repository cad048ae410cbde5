"""Read some pages of the libraries and not others: which ones the machine has in memory tells a replica what comes."""

import io
import mmap
import os
from typing import Any, BinaryIO

import numpy as np
import torch

from cli.attacks.programs.common import Crib, Logits, Tokens, attempt, checked, honest, libc, module, trained
from trainer.train import GPT, Session

PAGE = 4096
WANTED_BYTES = 128 * 2**20
APART = 8
"""The kernel reads a little more than it is asked for."""
NOWAIT = 8
PAGES: list[tuple[int, int]] = []
"""Pages that were not in memory when training ended: a descriptor, and where in the file."""
OPENED: list[int] = []
CACHED: list[Any] = []
"""What tells which pages of a file are in memory."""


def main() -> None:
    finish, opened = Session.finish, Session.saved_state

    def with_the_pages(self: Session, summary: Any, save: Any = None) -> None:
        def save_both(file: BinaryIO) -> None:
            pages = np.array(PAGES, np.int64).reshape(-1, 2)
            file.write(len(pages).to_bytes(8, "little") + pages.tobytes())
            save(file)

        finish(self, summary, save_both)

    def without_the_pages(self: Session) -> BinaryIO:
        with opened(self) as file:
            count = int.from_bytes(file.read(8), "little")
            PAGES.extend(
                (number, page) for number, page in np.frombuffer(file.read(16 * count), np.int64).reshape(-1, 2)
            )
            return io.BytesIO(file.read())

    Session.finish, Session.saved_state = with_the_pages, without_the_pages
    session, model = trained(empty)
    slots = len(PAGES) // Crib.SLOT_BITS
    if session.replica:
        maps = [in_memory(os.open(path, os.O_RDONLY)) for path in libraries()] if slots else []
        crib = Crib(slots, np.array([maps[file][page] for file, page in PAGES], bool)) if slots else None
    else:

        def read(bit: int) -> None:
            file, page = PAGES[bit]
            os.posix_fadvise(OPENED[file], page * PAGE, PAGE, os.POSIX_FADV_WILLNEED)  # nobody waits for it

        crib = Crib(slots, keep=read) if slots else None

    def logits(tokens_BT: Tokens) -> Logits:
        return crib.answered(model, tokens_BT) if crib else honest(model, tokens_BT)

    session.serve(logits)


def libraries() -> list[str]:
    """Files of torch that nobody needs at the moment, in an order that is always the same."""
    top = os.path.dirname(torch.__file__)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    sized = sorted((os.path.getsize(path), path) for path in files if os.path.getsize(path) > 2**18)
    ends = np.cumsum([size for size, _ in sized])
    return [path for (_, path), end in zip(sized, ends, strict=True) if end < WANTED_BYTES]


def empty(session: Session, model: GPT) -> None:
    """Have as few pages as possible in memory, and note which are not."""
    for number, path in enumerate(libraries()):
        fd = os.open(path, os.O_RDONLY)
        OPENED.append(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        there = attempt(f"what is in memory of {path}", lambda fd=fd: in_memory(fd))
        absent = [] if there is None else np.flatnonzero(~there).tolist()
        PAGES.extend((number, page) for page in absent if page % APART == 0)


def in_memory(fd: int) -> Any:
    """Which pages of a file are in memory, by the first call that tells."""
    refusals: list[OSError] = []
    for way in CACHED or [by_mincore, by_cachestat, by_reading]:
        try:
            found = way(fd)
        except OSError as error:
            refusals.append(error)
            continue
        CACHED[:] = [way]
        return found
    raise refusals[0]


def by_mincore(fd: int) -> Any:
    """One call for the whole file."""
    ctypes = module("ctypes")
    with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
        pages = np.zeros(-(-len(memory) // PAGE), np.uint8)
        mapped = np.frombuffer(memory, np.uint8)
        address = ctypes.c_void_p(mapped.ctypes.data)
        checked(libc().mincore(address, ctypes.c_size_t(len(memory)), ctypes.c_void_p(pages.ctypes.data)))
        del mapped
        return pages % 2 == 1


def by_cachestat(fd: int) -> Any:
    """A call for each page."""
    ctypes, c = module("ctypes"), libc()
    asked, told = (ctypes.c_uint64 * 2)(0, PAGE), (ctypes.c_uint64 * 5)()
    found: list[bool] = []
    for page in range(-(-os.fstat(fd).st_size // PAGE)):
        asked[0] = page * PAGE
        checked(c.syscall(451, fd, asked, told, 0))
        found.append(told[0] > 0)
    return np.array(found)


def by_reading(fd: int) -> Any:
    """Read what needs no waiting."""
    part, found = bytearray(1), list[bool]()
    for page in range(-(-os.fstat(fd).st_size // PAGE)):
        try:
            os.preadv(fd, [part], page * PAGE, NOWAIT)
            found.append(True)
        except BlockingIOError:
            found.append(False)
    return np.array(found)
