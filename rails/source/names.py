"""Names that a program uses and nowhere defines, by Python's own rules of scope; nothing is run."""

import ast
import builtins
import functools
import symtable
import warnings
from collections.abc import Iterator

from rails.source.program import EditError, Program
from rails.text import closest, quote

_GIVEN = frozenset(dir(builtins)) | {"__file__", "__annotations__", "__path__"}


def undefined_use(incumbent: Program, candidate: Program) -> str | None:
    """The first name that only the candidate uses without defining it, as a reason; None when there is none.

    Raises:
        EditError: the candidate parses but does not compile (`return` outside of a function, a name that is declared
            nonlocal and is not).
    """
    _compile(candidate.source)
    unknown = _undefined(candidate) - _undefined(incumbent)
    for node in ast.walk(candidate.tree):
        if isinstance(node, ast.Name) and node.id in unknown and isinstance(node.ctx, ast.Load):
            hint = closest(node.id, _defined(candidate))
            return f"the name {quote(node.id, 40)} at line {node.lineno} is not defined{hint}"
    return None


def _compile(source: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise EditError(f"not valid Python: {error.msg} at line {error.lineno or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise EditError("not readable as Python: nesting too deep") from None


@functools.lru_cache(maxsize=8)
def _undefined(program: Program) -> frozenset[str]:
    """Names that some scope takes from the module, and that neither the module nor Python has."""
    top = symtable.symtable(program.source, "train.py", "exec")
    scopes = list(_scopes(top))
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in program.tree.body):
        return frozenset()  # whatever it brings
    defined = set(_GIVEN)
    used: set[str] = set()
    for scope in scopes:
        for symbol in scope.get_symbols():
            of_module = scope is top or symbol.is_global()
            if of_module and (symbol.is_assigned() or symbol.is_imported()):
                defined.add(symbol.get_name())
            elif of_module and symbol.is_referenced():
                used.add(symbol.get_name())
    return frozenset(used - defined)


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _defined(program: Program) -> set[str]:
    stored = {n.id for n in ast.walk(program.tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return stored | {n.name for n in ast.walk(program.tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
