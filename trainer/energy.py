"""How much energy the machine took: what its own counters say, and nothing where it has none.

Two kinds of counters: NVML's of the GPU (millijoules, from Volta on), and RAPL's of the CPU packages (microjoules,
through `/sys/class/powercap`, which Linux shows to root alone unless told otherwise). Only whole packages are added up:
the domains within one, the board's (`psys`) and the same counters seen through memory (`intel-rapl-mmio`) would count
joules twice. Main memory, disks, fans and the power supply's losses are in no counter and not included.
"""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

POWERCAP = Path("/sys/class/powercap")
MAX_WATTS = 2000.0
"""More than one package or GPU ever takes: a counter that grew faster was set anew (suspend, a reloaded driver)."""
GRACE_S = 1.0
"""Drivers bring a counter up to date when they please: so old may a reading be."""
MIN_SAMPLE_S, MAX_SAMPLE_S = 0.2, 60.0


class Nvml(Protocol):
    """What is used of the module `pynvml`."""

    @property
    def NVMLError(self) -> type[Exception]:
        """What it raises."""
        ...

    def nvmlInit(self) -> None:
        """Load the driver's library."""
        ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        """The GPU with this name."""
        ...

    def nvmlDeviceGetIndex(self, handle: Any) -> int:
        """Its number, as `nvidia-smi` shows it."""
        ...

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        """Millijoules since its driver was loaded."""
        ...


class Unreadable(Exception):
    """A counter cannot be read. The text says why."""


class Counter:
    """One counter that only grows, from 0 up to where it starts again.

    Args:
        read: its value in joules; raises `Unreadable`.
        range_j: where it starts again at 0; None: never.
        now_s: the time of the first reading.

    Raises:
        Unreadable: it cannot be read even once.
    """

    def __init__(self, read: Callable[[], float], range_j: float | None, now_s: float) -> None:
        self._read, self._range_j = read, range_j
        self._last_j, self._last_s = read(), now_s
        self.joules = 0.0

    @property
    def max_gap_s(self) -> float | None:
        """How far apart two readings may lie: within this it cannot have gone round unseen. None: any."""
        return None if self._range_j is None else self._range_j / MAX_WATTS

    def update(self, now_s: float) -> None:
        """Add what was taken since the last reading.

        What lies between two readings of a counter that was set anew in between is left out: never more than was taken.

        Raises:
            Unreadable: it cannot be read, or may have gone round unseen.
        """
        gap_s = now_s - self._last_s
        if self.max_gap_s is not None and gap_s > self.max_gap_s:
            raise Unreadable(f"it was not read for {gap_s:.0f} s, and may have started again at 0 meanwhile")
        value = self._read()
        grown = value - self._last_j
        if grown < 0 and self._range_j is not None:
            grown += self._range_j
        if 0 <= grown <= MAX_WATTS * (gap_s + GRACE_S):
            self.joules += grown
        self._last_j, self._last_s = value, now_s


class EnergyMeter:
    """Joules that the machine took since this was made, as far as it counts them.

    A thread reads the counters often enough that none goes round unseen; `close` ends it.

    Args:
        device: what the task trains on: `cpu`, `cuda` or `mps`.
        powercap: the folder of the CPU's counters.
        nvml: the module `pynvml`, or a stand-in.
        gpu_uuid: the GPU, as NVML names it; None: the first that torch sees.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        device: str,
        *,
        powercap: Path = POWERCAP,
        nvml: Nvml | None = None,
        gpu_uuid: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._names: list[str] = []
        self._why: list[str] = []
        self._counters: list[Counter] = []
        self._lost: str | None = None
        self._add_packages(powercap)
        if device == "cuda":
            self._add_gpu(nvml, gpu_uuid)
        elif device != "cpu":
            self._why.append(f"there is no counter for a device {device}")
            self._counters.clear()  # of a training on the GPU, the CPU's share alone would mislead
        self._thread: threading.Thread | None = None
        if self.sample_s is not None:
            self._thread = threading.Thread(target=self._sample, name="energy", daemon=True)
            self._thread.start()

    @property
    def sample_s(self) -> float | None:
        """How often it is read at least, so that no counter goes round unseen; None: it need not be."""
        gaps = [counter.max_gap_s for counter in self._counters if counter.max_gap_s is not None]
        return max(MIN_SAMPLE_S, min(MAX_SAMPLE_S, min(gaps) / 3)) if gaps else None

    def read_joules(self) -> float | None:
        """Joules since this was made; None when nothing is measured, or a counter was lost: never a guess."""
        with self._lock:
            if not self._counters or self._lost is not None:
                return None
            now_s = self._clock()
            try:
                for counter in self._counters:
                    counter.update(now_s)
            except Unreadable as error:
                self._lost = str(error)
                return None
            return sum(counter.joules for counter in self._counters)

    def describe(self) -> str:
        """What is included, for a person: "CPU package and GPU 0", "GPU 0 only", "not measured: …"."""
        if self._lost is not None:
            return f"not measured: a counter was lost: {self._lost}"
        if not self._counters:
            return f"not measured: {'; '.join(self._why)}"
        return " and ".join(self._names) + (" only" if self._why else "")

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sample(self) -> None:
        while not self._ended.wait(self.sample_s):
            self.read_joules()

    def _add_packages(self, powercap: Path) -> None:
        now_s, counters = self._clock(), list[Counter]()
        try:
            for folder in _packages(powercap):
                counters.append(_package(folder, now_s))
        except Unreadable as error:
            self._why.append(str(error))
            return
        self._counters += counters
        if counters:
            self._names.append("CPU package" if len(counters) == 1 else f"{len(counters)} CPU packages")
        else:
            self._why.append(f"no counter of the CPU in {powercap}")

    def _add_gpu(self, nvml: Nvml | None, uuid: str | None) -> None:
        try:
            index, counter = _gpu(nvml or _pynvml(), uuid or _first_gpu(), self._clock())
        except Unreadable as error:
            self._why.append(str(error))
            self._counters.clear()  # as above
            return
        self._counters.append(counter)
        self._names.append(f"GPU {index}")


def _packages(powercap: Path) -> list[Path]:
    """The folders of whole CPU packages: AMD's have the same names."""
    top = [folder for folder in powercap.glob("intel-rapl:*") if re.fullmatch(r"intel-rapl:\d+", folder.name)]
    named = [(folder, _text(folder / "name")) for folder in sorted(top)]
    return [folder for folder, name in named if name.startswith("package-")]


def _package(folder: Path, now_s: float) -> Counter:
    def read() -> float:
        return _number(folder / "energy_uj") / 1e6

    return Counter(read, _number(folder / "max_energy_range_uj") / 1e6, now_s)


def _gpu(nvml: Nvml, uuid: str, now_s: float) -> tuple[int, Counter]:
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        index = nvml.nvmlDeviceGetIndex(handle)
    except nvml.NVMLError as error:
        raise Unreadable(f"the GPU's driver cannot be asked ({error})") from error

    def read() -> float:
        try:
            return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        except nvml.NVMLError as error:
            raise Unreadable(f"GPU {index} does not count its energy ({error})") from error

    return index, Counter(read, None, now_s)


def _pynvml() -> Nvml:
    import pynvml

    return pynvml


def _first_gpu() -> str:
    """NVML's name of the GPU that torch calls the first; a number would mean another one under CUDA_VISIBLE_DEVICES."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdigit():
        raise Unreadable(f"{path} holds no number")
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except PermissionError as error:
        raise Unreadable(f"only root may read {path}") from error
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror})") from error
