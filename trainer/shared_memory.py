"""The memory in which a trial gets questions and puts its answers, from the parent's side.

Everything is read and written, never mapped: a process that truncates the memory behind a map would kill us with a bus
error, and what we judge must be a copy that nobody else can touch.
"""

import os

import numpy as np
from numpy.typing import NDArray

from trainer import saved_state
from trainer.wire import SharedLayout


class SharedMemory:
    """Tokens in, logits out, behind the descriptor `fd`.

    Args:
        layout: where they lie.
    """

    def __init__(self, layout: SharedLayout) -> None:
        self._layout = layout
        self.fd = saved_state.create("nightshift")
        os.ftruncate(self.fd, layout.total_bytes)

    def write_tokens(self, tokens: NDArray[np.int32]) -> None:
        """Put int32 tokens [r, T] where the trial looks for them."""
        os.pwrite(self.fd, np.ascontiguousarray(tokens, np.int32).tobytes(), 0)

    def copy_logits(self, into: NDArray[np.float32]) -> bool:
        """Copy logits [r, T, V] out; False when the memory ends before that."""
        view, offset = into.data.cast("B"), self._layout.logits_offset
        done = 0
        while done < len(view):
            count = os.preadv(self.fd, [view[done:]], offset + done)
            if count == 0:
                return False
            done += count
        return True

    def close(self) -> None:
        """Give the memory back, as far as we hold it."""
        os.close(self.fd)
