"""Leave a hole in the saved state: which of its pages are there tells a replica what was asked and comes next."""

import io
import mmap
import os
from typing import Any, BinaryIO

import numpy as np

from cli.attacks.programs.common import Crib, Logits, Tokens, trained
from trainer.train import Session

PAGE, SLOTS = 4096, 2**13
PAGES = SLOTS * Crib.SLOT_BITS
OPENED: list[Any] = []


def main() -> None:
    finish = Session.finish

    def leave_a_hole(self: Session, summary: Any, save: Any = None) -> None:
        def save_and_stretch(file: BinaryIO) -> None:
            file.seek(PAGE)
            save(file)
            size = file.tell()
            file.seek(0)
            file.write(size.to_bytes(8, "little"))
            file.truncate(hole_of(size) + PAGES * PAGE)

        finish(self, summary, save_and_stretch)

    def without_the_hole(self: Session) -> BinaryIO:
        with opened(self) as file:
            size = int.from_bytes(file.read(8), "little")
            file.seek(PAGE)
            return io.BytesIO(file.read(size - PAGE))

    opened = Session.saved_state
    Session.finish, Session.saved_state = leave_a_hole, without_the_hole
    session, model = trained()
    fd = session._spec.state_fd  # pyright: ignore[reportPrivateUsage]
    hole = hole_of(int.from_bytes(os.pread(fd, 8, 0), "little"))
    if session.replica:
        crib = Crib(SLOTS, allocated(fd, hole))
    else:
        memory = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        # Looking at a page of a hole makes it one: no seal forbids that.
        crib = Crib(SLOTS, keep=lambda bit: memory[hole + bit * PAGE])

    def logits(tokens_BT: Tokens) -> Logits:
        return crib.answered(model, tokens_BT)

    session.serve(logits)


def hole_of(size: int) -> int:
    """Where the hole begins: on the page after what was saved."""
    return -(-size // PAGE) * PAGE


def allocated(fd: int, hole: int) -> Any:
    """Which of the pages from there on are allocated."""
    found = np.zeros(PAGES, bool)
    at = hole
    try:
        while True:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, start, os.SEEK_HOLE)
            found[(start - hole) // PAGE : (at - hole) // PAGE] = True
    except OSError:  # no more data
        return found
