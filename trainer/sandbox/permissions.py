"""What one trial process may do: what it may read, where it may write, and what it may take of the machine."""

import functools
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from trainer.sandbox.levels import Isolation

TASKS_PER_PROCESS = 4
"""Threads count as tasks: a process with a pool of them must not look like a crowd."""
PREFIX_FOLDERS = ("bin", "include", "lib", "lib32", "lib64", "libexec", "pyvenv.cfg")
"""What Python needs of a prefix. Not the prefix itself: it may be a home directory, or hold other environments."""
SYSTEM = (
    *("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"),
    *("/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin"),
    *("/usr/local/include", "/usr/local/lib", "/usr/local/lib64", "/usr/share/zoneinfo"),
    *("/nix/store", "/gnu/store"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage"),
)
"""Shared libraries, a shell, a compiler (torch.compile needs one), and what they read to start."""
CUDA = ("/sys", "/opt/cuda", "/etc/nvidia", "/usr/share/nvidia")
CUDA_PATTERNS = ("/usr/local/cuda*", "/usr/local/nvidia*", "/opt/cuda-*")
CUDA_VARIABLES = ("CUDA_HOME",)
UNUSED_PACKAGES = ("dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tkinter", "turtledemo")
"""Folders of the standard library without which training can do, unless they are on the path."""
_NAMED_LIKE_ONE = re.compile(r"(python|pypy)\d")
SCAN_DEPTH = 5
"""How deep below a library folder other installations of Python are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a trial may take. Address space is not limited: CUDA reserves huge ranges that it never uses.

    Args:
        memory_bytes: resident memory of all its processes together.
        disk_bytes: any single file, and by how much the disk's free space may fall.
        files: by how much the number of files on the disk may grow.
        open_files: file descriptors of one process.
        processes: how many processes at once.
    """

    memory_bytes: int
    disk_bytes: int = 8 * 2**30
    files: int = 50_000
    open_files: int = 4096
    processes: int = 256

    @property
    def tasks(self) -> int:
        """How many threads of all its processes together, where the kernel counts them."""
        return TASKS_PER_PROCESS * self.processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What one trial process may do.

    Args:
        level: how it is enforced; L1 enforces only `limits`.
        scratch: its own folder, absolute and resolved: the only place on disk that it may write.
        readable: files and folders that it may read, absolute; see `readable_paths`.
        hidden: files and folders below `readable` that it may not read all the same. A hidden Python file hides its
            compiled form too, and other installations of Python than the running one are always hidden.
        device: `cpu` or `cuda`.
        limits: what it may take of the machine.
    """

    level: Isolation
    scratch: Path
    readable: tuple[Path, ...]
    hidden: tuple[Path, ...]
    device: str
    limits: Limits

    @property
    def out_of_sight(self) -> frozenset[Path]:
        """Everything to hide, resolved: `hidden`, compiled forms, and other installations of Python."""
        return out_of_sight(self.readable, self.hidden)


def readable_paths(device: str) -> tuple[Path, ...]:
    """What a trial must read to run Python, numpy and torch on `device`: no home, no workspace, no repository.

    Args:
        device: `cpu` or `cuda`.
    """
    package = Path(__file__).resolve().parents[1]
    found = [*map(Path, SYSTEM), package, package.with_name("rails"), *_interpreter(), *_library_path()]
    if device == "cuda":
        found += map(Path, CUDA)
        found += (path for pattern in CUDA_PATTERNS for path in sorted(Path("/").glob(pattern[1:])))
        found += (Path(os.environ[name]) for name in CUDA_VARIABLES if name in os.environ)
        found += sorted(Path("/sys/module").glob("nvidia*"))
    return tuple(dict.fromkeys(path for path in found if path.exists()))


@functools.cache
def out_of_sight(readable: tuple[Path, ...], hidden: tuple[Path, ...]) -> frozenset[Path]:
    """See `Permissions.out_of_sight`. Cached: a fork server computes it once for all its children."""
    found: set[Path] = set()
    for path in hidden:
        real = path.resolve()
        found.add(real)
        if real.suffix == ".py":
            # By name, there or not: the loop may compile the file while a trial runs.
            compiled = (cache_from_source(str(real), optimization=level) for level in ("", "1", "2"))
            found.update((*map(Path, compiled), *real.parent.glob(f"__pycache__/{real.stem}.*.pyc")))
    return frozenset(found | other_pythons(readable))


@functools.cache
def other_pythons(readable: tuple[Path, ...]) -> frozenset[Path]:
    """Installations of Python below `readable`, and parts of them, that the running one does not use, resolved.

    They hold copies of the standard library, whose held-back files a trial must not read.
    """
    used = {Path(path).resolve() for path in (*sys.path, *sysconfig.get_paths().values()) if path}
    needed = used | {parent for path in used for parent in path.parents}
    found: set[Path] = set()
    for root in dict.fromkeys(path.resolve() for path in readable):
        if root.name in ("lib", "lib32", "lib64"):
            found.update(_pythons_below(root, SCAN_DEPTH))
        elif root.name == "store":
            found.update(root.glob("*/lib/python[23]*"))
    found |= _unused_packages()
    return frozenset(folder for folder in found if folder not in needed)


def _pythons_below(folder: Path, depth: int) -> list[Path]:
    """Folders that are named like, or look like, the library folder of a Python."""
    found: list[Path] = []
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    for entry in entries:
        if _NAMED_LIKE_ONE.match(entry.name) or os.path.isfile(os.path.join(entry.path, "argparse.py")):
            found.append(Path(entry.path))
        elif depth > 1 and entry.name not in ("site-packages", "node_modules"):
            found += _pythons_below(Path(entry.path), depth - 1)
    return found


def _unused_packages() -> set[Path]:
    """Parts of the running installation; a virtual environment may not use the base's packages."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return {folder for name in UNUSED_PACKAGES if (folder := library / name).is_dir()}


def _interpreter() -> list[Path]:
    """The running Python: the environment's prefix, the installation's, and whatever else is on its path."""
    prefixes = dict.fromkeys(map(Path, (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)))
    found = [prefix / name for prefix in prefixes for name in PREFIX_FOLDERS if prefix not in _TOO_WIDE]
    found += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found.append(Path(os.path.realpath(sys.executable)))
    return found


_TOO_WIDE = {Path("/"), Path("/usr")}
"""Their folders are in `SYSTEM`."""


def _library_path() -> list[Path]:
    """Where the environment says that shared libraries are, unless that is as much as a whole home."""
    named = [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part.startswith("/")]
    home = Path.home()
    return [path for path in named if path != home and path not in home.parents and path.name.startswith("lib")]
