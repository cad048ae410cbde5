"""Replace whole definitions of a source (functions, methods, classes, constants) by name."""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rails.source.placing import indentation
from rails.source.program import EditError
from rails.source.spans import Span, split_lines
from rails.text import closest, quote

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Definable = _Definition | ast.Assign | ast.AnnAssign
_LEFT_OUT = re.compile(
    r"(?:#\s*)?(?:\.\.\.|…).*|#.*(?:\.\.\.|…)"
    r"|#.*\b(?:existing code|rest of (?:the |this )?(?:code|function|method|class|file|body)|same as before"
    r"|(?:remains?|stays?|code) unchanged)\b.*",
    re.IGNORECASE,
)
"""A line that stands for lines which are not written: `# ... rest of the function`."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole definition, to stand in the place of the one of the same name."""

    target: str
    """`name` or `Class.method`."""
    text: str

    def place(self, lines: list[str]) -> Span:
        """Where it goes: over the definition of this name, whose decorators stay unless it brings its own.

        Raises:
            EditError: there is no such definition, or several; or the text does not define the name.
        """
        old = resolve(definitions("".join(lines)), self.target)
        new = self._own()
        if isinstance(old, ast.Assign | ast.AnnAssign) or isinstance(new, ast.Assign | ast.AnnAssign):
            start = old.lineno
        else:
            start = old.lineno if old.decorator_list and not new.decorator_list else _first_line(old)
        text = textwrap.dedent(self.text).rstrip() + "\n"
        margin = " " * indentation(lines[old.lineno - 1])
        body = [margin + line if line.strip() else line for line in split_lines(text)]
        return Span(start - 1, old.end_lineno or old.lineno, body)

    def _own(self) -> Definable:
        """What the text itself says of the name."""
        name = self.target.split(".")[-1]
        found = dict(named(parse_code(self.text, f"the text for {self.target}").body)).get(name)
        if found is None:
            raise EditError(f"the text for {self.target} does not define {name}: write the whole definition")
        return found


def parse_code(text: str, what: str) -> ast.Module:
    """The syntax tree of a part of a program, which may be indented as a whole.

    Raises:
        EditError: not Python.
    """
    try:
        return ast.parse(textwrap.dedent(text))
    except SyntaxError as error:
        raise EditError(f"{what} is not valid Python: {error.msg} at its line {error.lineno or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise EditError(f"{what} is not readable as Python: a null byte, or nesting too deep") from None


def definitions(source: str) -> dict[str, Definable]:
    """Every definition of a program by its dotted name; of those that are defined twice the last.

    Raises:
        EditError: not Python.
    """
    found: dict[str, Definable] = {}
    todo: list[tuple[str, list[ast.stmt]]] = [("", parse_code(source, "the file").body)]
    while todo:
        outer, body = todo.pop()
        for name, node in named(body):
            found[outer + name] = node
            if isinstance(node, _Definition):
                todo.append((f"{outer}{name}.", node.body))
    return found


def resolve(known: dict[str, Definable], target: str) -> Definable:
    """The definition that a name means: by its whole dotted name, or by its last part where only one has it.

    Raises:
        EditError: none, or more than one.
    """
    if target in known:
        return known[target]
    inner = [name for name in known if name.endswith(f".{target}") and isinstance(known[name], _Definition)]
    if len(inner) == 1:
        return known[inner[0]]
    if inner:
        raise EditError(
            f"{quote(target)} is defined in {len(inner)} places: say which of {', '.join(sorted(inner)[:8])}"
        )
    raise EditError(f"there is no definition of {quote(target)} to replace{closest(target, known)}")


def refuse_gaps(text: str, source: str) -> None:
    """Refuse a text that stands for more than it writes.

    Raises:
        EditError: a line like `# ... rest of the function` that the source does not have.
    """
    known = {line.strip() for line in source.split("\n")}
    for line in map(str.strip, text.split("\n")):
        if line not in known and _LEFT_OUT.fullmatch(line):
            raise EditError(f"the edit leaves something out at {quote(line)}: write every line that is to be there")


def named(body: list[ast.stmt]) -> Iterator[tuple[str, Definable]]:
    """The definitions among some statements, with their names."""
    for node in body:
        if isinstance(node, _Definition):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node


def _first_line(node: _Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
