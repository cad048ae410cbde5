"""The CPU seconds of one trial, read again and again: they never fall, and what cannot be counted is charged."""

import os
import time

from trainer.launch.child import Child


class CpuMeter:
    """Reads what all processes of a trial have used since its launch.

    From the last reading at which everything was counted, what cannot be counted is charged as if it had kept every
    core of the machine busy.

    Attributes:
        cores: how many CPU seconds can be used in a second at most.
        counted: whether all of it is counted, not charged.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.cores = os.cpu_count() or 1  # not those that we may use: a trial may move itself to others
        self.counted = True
        self._most_s, self._counted_s, self._counted_at = 0.0, 0.0, time.monotonic()

    def read(self) -> float:
        """CPU seconds, with what rounding may hide of them."""
        return self._read(with_hidden=True)

    def read_before_start(self) -> float:
        """CPU seconds without what may be hidden: what is subtracted later must not be too much."""
        return self._read(with_hidden=False)

    def _read(self, *, with_hidden: bool) -> float:
        now, found = time.monotonic(), self._child.cpu_time()
        self.counted = self.counted and found.complete
        seconds = found.seconds + (found.hidden_s if with_hidden else 0.0)
        if self.counted:
            self._counted_s, self._counted_at = max(self._counted_s, seconds), now
        else:
            seconds = max(seconds, self._counted_s + self.cores * (now - self._counted_at))
        self._most_s = max(self._most_s, seconds)
        return self._most_s
