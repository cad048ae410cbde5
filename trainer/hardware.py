"""What machine this is: shown to people, stored with every campaign, and compared, since scores of timed trainings on
different machines cannot be.
"""

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

GIB = 2**30

PEAK_TFLOPS_BF16 = {
    "GB200": 2500.0,
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIE": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "GH200": 989.4,
    "H800": 989.4,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
    "RTX 5090": 209.5,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "V100": 125.0,
}
"""Dense tensor-core peaks in bf16 (fp16 for the V100), from data sheets; the first name that fits decides."""


VARIANTS = frozenset({"LAPTOP", "MAX", "MOBILE", "TI", "SUPER", "MIG"})
"""Words that make a name another, slower or faster thing: a laptop's chip, a slice of a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine, as far as it matters for a training."""

    device: str
    """`cpu`, `cuda` or `mps`."""
    device_name: str
    device_memory_bytes: int | None
    """Memory of the accelerator; None for a CPU, which has `memory_bytes`."""
    cpu_model: str
    cores: int
    """Logical cores that this process may use."""
    memory_bytes: int
    """Memory that this process may use: the machine's, or its container's share."""
    torch_version: str | None
    driver: str | None

    @property
    def fingerprint(self) -> str:
        """Equal for machines whose trainings may be compared; memory counts to the GiB, a driver where there is one."""
        facts = asdict(self) | {"memory_bytes": round(self.memory_bytes / GIB)}
        if self.driver is None:
            del facts["driver"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def describe(device: str = "auto") -> Hardware:
    """The hardware behind `device`: `auto`, `cpu`, `cuda` or `mps`. Only `cpu` can be described without loading torch.

    Raises:
        ValueError: no such device here.
    """
    device = resolve_device(device)
    name, memory = _cpu_model(), None
    if device != "cpu":
        import torch

        if device == "cuda":
            properties = torch.cuda.get_device_properties(0)
            name, memory = properties.name, properties.total_memory
        else:
            memory = torch.mps.recommended_max_memory()
    return Hardware(
        device=device,
        device_name=name,
        device_memory_bytes=memory,
        cpu_model=_cpu_model(),
        cores=usable_cores(),
        memory_bytes=usable_memory(),
        torch_version=_torch_version(),
        driver=_driver() if device == "cuda" else None,
    )


def resolve_device(device: str) -> str:
    """`cpu`, `cuda` or `mps`; `auto` takes the best there is.

    Raises:
        ValueError: the device is unknown, or this machine has none.
    """
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise ValueError(f"unknown device {device!r}: it must be auto, cpu, cuda or mps")
    if device == "cpu":
        return device
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, here in usable.items() if here)
    if not usable[device]:
        raise ValueError(f"this machine has no device {device!r} that torch can use")
    return device


def peak_flops(device_name: str) -> float | None:
    """The dense bf16 peak of a GPU in operations a second; None when it is not known. Never a guess."""
    name = device_name.upper()
    words = name.replace("-", " ").split()
    if VARIANTS.intersection(words):
        return None
    for known, tflops in PEAK_TFLOPS_BF16.items():
        if (known in name) if " " in known else (known in words):
            return tflops * 1e12
    return None


def usable_cores() -> int:
    """Logical cores that this process may use."""
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's when that is less."""
    total = psutil.virtual_memory().total
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # absent, or "max"
            total = min(total, int(Path(limit).read_text()))
    return total


def _cpu_model() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _torch_version() -> str | None:
    with suppress(PackageNotFoundError):
        return version("torch")
    return None


def _driver() -> str | None:
    with suppress(OSError, IndexError):
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
        return next((word for word in first.split() if word[0].isdigit()), None)
    return None
