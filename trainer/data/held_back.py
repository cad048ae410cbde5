"""Which files of this machine a trial must not be able to read: the held-back text, and every copy of it.

The default corpus is the standard library of the Python that runs the trials, so its validation and test documents are
files that every trial could otherwise open. The listing is made from the scan of the corpus each time, not kept with
the prepared data: the same text may lie elsewhere tomorrow.

What stays: the code of modules that a process has imported is in its memory, whatever its files are. Names, constants
and documentation can be had from there, the text cannot.
"""

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

ANYWHERE = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/*/lib")
"""Where distributions put other Pythons."""


def hidden_paths(held_back: Iterable[Path], *, stdlib: bool) -> tuple[Path, ...]:
    """The held-back files and what else holds their text: compiled copies, other versions of the same library.

    Args:
        held_back: the files that validation and test documents come from, with their copies inside the corpus.
        stdlib: whether the corpus is the running Python's standard library.

    Returns:
        Existing files and folders, absolute, sorted, each once.
    """
    files = {path.resolve() for path in held_back}
    paths = {*files, *(compiled for path in files for compiled in compiled_copies(path))}
    if stdlib:
        paths.update(other_libraries(), bundled_copies(files))
    return tuple(sorted(paths))


def compiled_copies(source: Path) -> list[Path]:
    """The `.pyc` files of a `.py` file, of every Python and optimisation level."""
    if source.suffix != ".py":
        return []
    return [path.resolve() for path in (source.parent / "__pycache__").glob("*.pyc") if _stem(path) == source.stem]


def _stem(compiled: Path) -> str:
    """`typing` of `typing.cpython-311.opt-1.pyc`."""
    return compiled.name.split(".", 1)[0]


def running_library() -> Path:
    """The standard library of the Python that runs this."""
    return Path(sysconfig.get_paths()["stdlib"]).resolve()


def other_libraries() -> list[Path]:
    """Standard libraries of other Pythons that a trial's interpreter could have in sight.

    They lie where distributions put them, beside the running one, and in the packages of a conda installation.
    """
    base = Path(sys.base_prefix).resolve()
    places = [Path(base.anchor), base / "lib", base.parent]
    patterns = [f"{where.lstrip('/')}/python[23].*" for where in ANYWHERE], ["python[23].*"], ["*/lib/python[23].*"]
    found = {
        path.resolve() for place, each in zip(places, patterns, strict=True) for p in each for path in place.glob(p)
    }
    found.update(path.resolve() for inner in ("pkgs", "envs") for path in base.glob(f"{inner}/*/lib/python[23].*"))
    return sorted(path for path in found if (path / "os.py").is_file() and path != running_library())


def bundled_copies(held_back: Iterable[Path]) -> Iterator[Path]:
    """Copies that come with the library's own tools: pip's bundled wheels, and distutils inside setuptools."""
    library = running_library()
    if (bundled := library / "ensurepip" / "_bundled").is_dir():
        yield bundled
    roots = {library / "site-packages", *(Path(sysconfig.get_paths()[name]) for name in ("purelib", "platlib"))}
    distutils = library / "distutils"
    for path in held_back:
        if path.is_relative_to(distutils):
            for root in roots:
                copy = root / "setuptools" / "_distutils" / path.relative_to(distutils)
                if copy.is_file():
                    yield copy.resolve()
                    yield from compiled_copies(copy.resolve())
