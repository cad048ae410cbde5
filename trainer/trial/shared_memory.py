"""The memory in which a trial gets questions and puts its answers, from the parent's side.

Everything is read and written, never mapped: where its size cannot be sealed, a process that truncates the memory
behind a map would kill us with a bus error; and what we judge must be a copy that nobody else can touch.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from trainer.hardware import usable_cores
from trainer.trial import saved_state
from trainer.trial.wire import SharedLayout

PART_BYTES = 4 * 2**20
"""Copying is the price of not trusting: cores share it, in parts worth a thread."""


class SharedMemory:
    """Tokens in, logits out, behind the descriptor `fd`.

    Args:
        layout: where they lie.
    """

    def __init__(self, layout: SharedLayout) -> None:
        self._layout, self._copiers = layout, usable_cores()
        self.fd = saved_state.create("nightshift")
        os.ftruncate(self.fd, layout.total_bytes)
        saved_state.seal_for_good(self.fd, writable=True)  # or the trial could, and we could not write any more

    def write_tokens(self, tokens: NDArray[np.int32]) -> None:
        """Put int32 tokens [r, T] where the trial looks for them."""
        os.pwrite(self.fd, np.ascontiguousarray(tokens, np.int32).tobytes(), 0)

    def copy_logits(self, into: NDArray[np.float32]) -> bool:
        """Copy logits [r, T, V] out; False when the memory ends before that."""
        view = into.data.cast("B")
        if len(view) < 2 * PART_BYTES:
            return self._read(view, 0)
        parts = min(self._copiers, len(view) // PART_BYTES)
        ends = [len(view) * part // parts for part in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            return all(pool.map(lambda start, end: self._read(view[start:end], start), ends[:-1], ends[1:]))

    def _read(self, into: memoryview, start: int) -> bool:
        done = 0
        while done < len(into):
            count = os.preadv(self.fd, [into[done:]], self._layout.logits_offset + start + done)
            if count == 0:
                return False
            done += count
        return True

    def close(self) -> None:
        """Give the memory back, as far as we hold it."""
        os.close(self.fd)
