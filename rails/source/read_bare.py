"""Read an edit that is code and nothing else: definitions that the source has too, or the whole file."""

import ast
from dataclasses import dataclass

from rails.source.definitions import Definition, named, parse_code, refuse_gaps
from rails.source.program import EditError
from rails.source.read_diff import FENCE
from rails.source.spans import Edit, Span, split_lines
from rails.text import quote

_Allowed = (
    ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom
)


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A text in the place of the whole source."""

    text: str

    def place(self, lines: list[str]) -> Span:
        """All of it."""
        return Span(0, len(lines), split_lines(f"{self.text.rstrip()}\n"))


def read_bare(text: str, source: str, file_name: str) -> list[Edit]:
    """The edits of a text without any marks but fences.

    What is new in it goes before the known definition that follows it, or behind the last one.

    Raises:
        EditError: not Python, something left out, or nothing in it that the source defines.
    """
    edits: list[Edit] = []
    program = parse_code(source, file_name)
    for code in _codes(text):
        tree = parse_code(code, "the text behind the header")
        refuse_gaps(code, source)
        edits += [WholeFile(code)] if _is_whole(tree, program) else _definitions(code, tree, program)
    if not edits:
        what = f"the text behind the header changes nothing that {file_name} defines"
        raise EditError(f"{what}: give SEARCH and REPLACE blocks, or whole functions of the file")
    return edits


def _codes(text: str) -> list[str]:
    """The contents of the fences in a text, or all of it where there are none."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if FENCE.match(line)]
    if len(fences) < 2:  # one alone closes, behind the code, what was opened before the header
        return ["\n".join(lines[: fences[0]] if fences and fences[0] else lines[len(fences) :])]
    return [
        "\n".join(lines[start + 1 : end]) for start, end in zip(fences[::2], [*fences[1::2], len(lines)], strict=False)
    ]


def _is_whole(tree: ast.Module, program: ast.Module) -> bool:
    """Whether a text defines every function and class of a program, and so is meant to be all of it."""
    wanted = {node.name for node in program.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return len(wanted) > 1 and wanted <= dict(named(tree.body)).keys()


def _definitions(code: str, tree: ast.Module, program: ast.Module) -> list[Edit]:
    lines = code.split("\n")
    there = {ast.dump(node) for node in program.body}
    known = {node.name for node in ast.walk(program) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    known |= dict(named(program.body)).keys()
    edits: list[Definition] = []
    start = 0
    for node in tree.body:
        if not isinstance(node, _Allowed) and not isinstance(node, ast.Expr):
            what = f"line {node.lineno} of the text, {quote(lines[node.lineno - 1].strip())}, belongs to no definition"
            raise EditError(f"{what}: give SEARCH and REPLACE blocks, or whole functions of the file")
        end = node.end_lineno or node.lineno
        name = next((name for name, _ in named([node])), None)
        if ast.dump(node) in there:
            start = end  # as it is already
        elif name in known:
            edits.append(Definition(name, "\n".join(lines[start:end])))
            start = end
    rest = "\n".join(lines[start:])
    if edits and rest.strip():
        edits[-1] = Definition(edits[-1].target, f"{edits[-1].text}\n\n\n{rest}")
    return [*edits]
