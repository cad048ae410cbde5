"""Make an attacking train.py: the real one, with a program of ours in the place of its `main`."""

import ast
from importlib import resources
from typing import Any

MAIN = "def main() -> None:\n"
COMMON = "common"
_PARAMS = "PARAMS: dict[str, Any] = {}\n"
_START = '\n\nif __name__ == "__main__":\n    main()\n'


class SpliceError(ValueError):
    """train.py is no longer what the attacks were written against; the text says what is missing."""


def edited(source: str, program: str, params: dict[str, Any]) -> str:
    """The attacking program as an edit of `source`.

    Args:
        source: an honest train.py.
        program: a file of `cli.attacks.programs`, without `.py`.
        params: what the attacker knows about this machine; literals only.

    Raises:
        SpliceError: `source` has not exactly one `main`, or lacks a name that the program uses.
    """
    if source.count(MAIN) != 1:
        raise SpliceError(f"train.py should define main exactly once; it does {source.count(MAIN)} times")
    honest = source[: source.index(MAIN)]
    common, attack = _read(COMMON), _read(program)
    missing = sorted((_wanted(common) | _wanted(attack)) - _defined(honest))
    if missing:
        raise SpliceError(f"train.py no longer has {', '.join(missing)}, which the attack {program!r} uses")
    filled = _body(common).replace(_PARAMS, f"PARAMS: dict[str, Any] = {params!r}\n")
    return honest + filled + "\n\n" + _body(attack).rstrip() + _START


def _read(name: str) -> str:
    return resources.files("cli.attacks.programs").joinpath(f"{name}.py").read_text(encoding="utf-8")


def _imports(text: str) -> list[ast.ImportFrom]:
    """Imports that hold for the file on its own: once spliced, their names are simply there."""
    nodes = (node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom))
    return [node for node in nodes if node.module in {"trainer.train", f"cli.attacks.programs.{COMMON}"}]


def _wanted(text: str) -> set[str]:
    return {alias.name for node in _imports(text) if node.module == "trainer.train" for alias in node.names}


def _defined(source: str) -> set[str]:
    """Names at the top level of a program."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def _body(text: str) -> str:
    """The file without its docstring and without the imports of `_imports`."""
    lines = text.splitlines(keepends=True)
    head = ast.parse(text).body[0]
    dropped = {*range(head.lineno, (head.end_lineno or head.lineno) + 1)}
    for node in _imports(text):
        dropped |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return "".join(line for number, line in enumerate(lines, start=1) if number not in dropped).lstrip("\n")
