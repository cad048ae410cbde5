"""A program in outline: its functions and classes with their lines, for a prompt that has no room for all of it."""

import ast

_MAX_HEAD_CHARS = 100


def outline(source: str, *, short: bool = False) -> str:
    """One line for each function, class and method: its lines in the file, its head, the first line of its docstring.

    A source that cannot be parsed is outlined as nothing.

    Args:
        source: the program.
        short: names only, and no methods.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    lines = source.splitlines()
    found: list[str] = []
    for node in tree.body:
        found += _names(node) if short else _entries(node, lines, "")
    return "\n".join(found)


def _names(node: ast.stmt) -> list[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    return [f"{node.lineno}-{node.end_lineno}: {node.name}"]


def _entries(node: ast.stmt, lines: list[str], indent: str) -> list[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    head = lines[node.lineno - 1].strip().rstrip(":")[:_MAX_HEAD_CHARS]
    note = (ast.get_docstring(node) or "").partition("\n")[0][:_MAX_HEAD_CHARS]
    entry = f"{indent}{node.lineno}-{node.end_lineno}: {head}{f' — {note}' if note else ''}"
    inner: list[str] = []
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            inner += _entries(child, lines, indent + "  ")
    return [entry, *inner]
