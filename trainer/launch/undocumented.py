"""Importing held-back modules without the text in them.

The default corpus is the standard library of the Python that runs the trials, and some of its files are held back: a
trial may not read them. A program may still import the modules, so the fork server imports them before the files are
out of reach. Their documentation must not come along: it lies in memory as text, word for word.
"""

import ast
import gc
import importlib
import importlib.machinery
import inspect
import sys
import types
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

NOT_IMPORTED = ("__main__", "antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo")
"""Packages and modules that open windows, print or are programs: without them a trial can do."""
WITH_BODY = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class UndocumentedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from its source, without its documentation; a compiled form is neither read nor written."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the source, whatever lies compiled beside it."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> types.CodeType:
        """Compile without documentation; line numbers stay."""
        tree = ast.parse(data, path)
        for node in ast.walk(tree):
            if isinstance(node, WITH_BODY) and ast.get_docstring(node, clean=False) is not None:
                # A module may be left empty, and nothing may stand before its imports from __future__.
                empty = [] if isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), node.body[0])]
                node.body[:1] = empty
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


class UndocumentedFinder:
    """A meta path finder that finds the hidden modules first.

    Args:
        hidden: their files.
    """

    def __init__(self, hidden: Iterable[Path]) -> None:
        self._hidden = {str(path) for path in hidden}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's specification, when its file is hidden."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin not in self._hidden:
            return None
        spec.loader, spec.cached = UndocumentedLoader(name, spec.origin), None
        return spec


def importable(hidden: Iterable[Path], roots: Sequence[Path]) -> list[str]:
    """Names of the modules whose files are hidden and that can be imported without consequences.

    Args:
        hidden: files.
        roots: folders of the standard library.
    """
    names: list[str] = []
    for path in hidden:
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if root is None or path.suffix != ".py" or "site-packages" in path.parts:
            continue
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if parts and all(part.isidentifier() for part in parts) and not {parts[0], parts[-1]} & {*NOT_IMPORTED}:
            names.append(".".join(parts))
    return sorted(names)


def import_undocumented(hidden: Sequence[Path]) -> None:
    """Import what is hidden, without documentation, and take it from what is loaded already.

    What cannot be imported (a module for another system) stays as it is: the trial cannot import it either.
    """
    sys.meta_path.insert(0, UndocumentedFinder(hidden))
    roots = [Path(path) for path in sys.path if (Path(path) / "os.py").is_file()]
    with redirect_stdout(StringIO()):
        for name in importable(hidden, roots):
            with suppress(BaseException):  # whatever a module raises: SystemExit, too
                importlib.import_module(name)
    strip_loaded({str(path) for path in hidden})


def strip_loaded(files: set[str]) -> None:
    """Remove the documentation of modules, classes and functions that came from `files`."""
    modules = {name: module for name, module in list(sys.modules.items()) if getattr(module, "__file__", "") in files}
    for module in modules.values():
        module.__doc__ = None
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename in files:
            thing.__doc__ = None
            thing.__code__ = _without_text(thing.__code__)
        elif isinstance(thing, type) and thing.__module__ in modules and isinstance(thing.__doc__, str):
            with suppress(AttributeError, TypeError):  # a class written in C keeps what it has
                thing.__doc__ = None


def _without_text(code: types.CodeType) -> types.CodeType:
    """The code without its documentation, which is the first of its constants, and that of the functions in it."""
    inner = (_without_text(each) if isinstance(each, types.CodeType) else each for each in code.co_consts[1:])
    first = code.co_consts[:1]
    function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    documented = bool(first) and isinstance(first[0], str) and function
    return code.replace(co_consts=((None,) if documented else first) + tuple(inner))
