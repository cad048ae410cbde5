"""What a program does, whatever it calls things: a key that renaming and reordering leave as it is.

Local, function, class and module-level names are numbered by how they are bound; imported names become what they stand
for; comments, docstrings, annotations of functions, and the order of imports, of definitions and of keyword arguments
are left out. Attributes and keyword arguments keep their names: random numbers of a parameter follow its name.

Each top-level statement is written once with a gap for every module-level name. A gap is filled with what the name's
own statement says, with what that refers to in turn, two levels deep: so the key does not hang on any order, and a
program that differs in one statement is keyed again by exchanging it.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_LEVELS = 2


@dataclass(frozen=True, slots=True)
class Outline:
    """One top-level statement without the names of the module; empty for an import, whose names say what they are."""

    text: str
    names: tuple[str, ...]
    """Module-level names in the order in which `text` has gaps for them."""
    binds: tuple[str, ...]
    """The module-level names that it defines."""
    anywhere: bool
    """Whether its place does not matter: a function or a class."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """The outlines of a program's top-level statements, and what it takes to make another one that fits them."""

    statements: tuple[Outline, ...]
    imported: Mapping[str, str]
    """Module-level names that are imports, and what they stand for."""
    bound: frozenset[str]
    """The other module-level names."""
    keywords: frozenset[str]
    """Names of keyword arguments anywhere in the program: a parameter of such a name keeps it."""

    @property
    def key(self) -> str:
        """Hash of what the program does."""
        written = [outline for outline in self.statements if outline.text]
        meaning: Mapping[str, str] = dict.fromkeys(self.bound, "name")
        digests: list[str] = []
        for _ in range(_LEVELS + 1):
            digests = [_hash([outline.text, *(meaning[name] for name in outline.names)]) for outline in written]
            said: dict[str, list[str]] = {}
            for outline, digest in zip(written, digests, strict=True):
                for position, name in enumerate(outline.binds):
                    said.setdefault(name, []).append(f"{digest}.{position}")
            meaning = {name: "+".join(found) for name, found in said.items()}
        pairs = list(zip(written, digests, strict=True))
        free = sorted(digest for outline, digest in pairs if outline.anywhere)
        return _hash([*free, "in order", *(digest for outline, digest in pairs if not outline.anywhere)])

    def exchanged(self, position: int, statement: ast.stmt) -> "Outlines":
        """With another statement in one place, which defines and imports the same names."""
        other = self.outline(statement)
        statements = (*self.statements[:position], other, *self.statements[position + 1 :])
        return Outlines(statements, self.imported, self.bound, self.keywords)

    def outline(self, statement: ast.stmt) -> Outline:
        """One of its statements."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return Outline("", (), (), False)
        writer = _Writer(self)
        writer.write(statement)
        binds = tuple(name for name in _bindings([statement]) if name in self.bound)
        return Outline(
            "".join(writer.parts), tuple(writer.gaps), binds, isinstance(statement, _Function | ast.ClassDef)
        )


def outlines_of(tree: ast.Module) -> Outlines:
    """The outlines of a program whose docstrings are dropped."""
    imported = _imports(tree.body)
    bound = frozenset(_bindings(tree.body).keys() - imported.keys())
    keywords = frozenset(node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg)
    empty = Outlines((), imported, bound, keywords)
    return Outlines(tuple(empty.outline(statement) for statement in tree.body), imported, bound, keywords)


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(slots=True)
class _Scope:
    """The names of one function or class while it is written."""

    bound: Mapping[str, None]
    imported: Mapping[str, str] = field(default_factory=dict[str, str])
    kept: frozenset[str] = frozenset()
    """Names that are written as they are."""
    is_class: bool = False
    numbers: dict[str, int] = field(default_factory=dict[str, int])


class _Writer:
    """Writes a statement without names that could be others."""

    def __init__(self, program: Outlines) -> None:
        self.parts: list[str] = []
        self.gaps: list[str] = []
        self._program = program
        self._scopes: list[_Scope] = []

    def write(self, node: Any) -> None:
        """Write a node, a list of nodes or a plain value."""
        writer = getattr(self, f"_{type(node).__name__}", None)
        if writer is not None:
            writer(node)
        elif isinstance(node, _Comprehension):
            stored = (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            self._inside(_Scope(dict.fromkeys(stored)), node)
        elif isinstance(node, ast.AST):
            self._fields(node)
        elif isinstance(node, list):
            self.parts.append("[")
            for child in node:
                self.write(child)
                self.parts.append(",")
            self.parts.append("]")
        else:
            self.parts.append(repr(node))

    def _fields(self, node: ast.AST, *left_out: str) -> None:
        self.parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            child = getattr(node, name, None)
            if child is not None and child != [] and name not in {"ctx", "type_comment", *left_out}:
                self.parts.append(f"{name}=")
                self.write(child)
                self.parts.append(",")
        self.parts.append(")")

    def _inside(self, scope: _Scope, node: Any) -> None:
        self._scopes.append(scope)
        self._fields(node) if isinstance(node, ast.AST) else self.write(node)
        self._scopes.pop()

    def _name(self, name: str) -> None:
        for depth, scope in reversed(list(enumerate(self._scopes))):
            if name not in scope.bound or (scope.is_class and depth < len(self._scopes) - 1):
                continue  # a class's names are seen in its own body only
            if scope.is_class or name in scope.kept:
                self.parts.append(f"'{name}'")
            elif name in scope.imported:
                self.parts.append(f"&{scope.imported[name]}")
            else:
                number = scope.numbers.setdefault(name, len(scope.numbers))
                self.parts.append(f"%{depth}.{number}")
            return
        if name in self._program.imported:
            self.parts.append(f"&{self._program.imported[name]}")
        elif name in self._program.bound:
            self.parts.append("@")
            self.gaps.append(name)
        else:
            self.parts.append(f"!{name}")

    def _Name(self, node: ast.Name) -> None:
        self._name(node.id)

    def _Attribute(self, node: ast.Attribute) -> None:
        self.write(node.value)
        self.parts.append(f".{node.attr}")

    def _Constant(self, node: ast.Constant) -> None:
        value: object = node.value
        self.parts.append(hex(value) if isinstance(value, int) and value.bit_length() > 128 else repr(value))

    def _Call(self, node: ast.Call) -> None:
        self.parts.append("Call(")
        self.write(node.func)
        self.write(node.args)
        self.write(sorted(node.keywords, key=lambda keyword: keyword.arg or "~"))
        self.parts.append(")")

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.parts.append(type(node).__name__)
        self.write(node.decorator_list)
        if self._scopes:
            self._name(node.name)
        self._parameters(node.args)
        self._inside(self._scope_of(node.args, node.body), [*_parameters(node.args), *node.body])

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda) -> None:
        self.parts.append("Lambda")
        self._parameters(node.args)
        self._inside(self._scope_of(node.args, []), [*_parameters(node.args), node.body])

    def _parameters(self, args: ast.arguments) -> None:
        """What is seen of parameters from outside: how many of which kind, and their defaults."""
        shape = (len(args.posonlyargs), len(args.args), len(args.kwonlyargs), bool(args.vararg), bool(args.kwarg))
        self.parts.append(repr(shape))
        self.write([*args.defaults, *args.kw_defaults])

    def _arg(self, node: ast.arg) -> None:
        self._name(node.arg)

    def _scope_of(self, args: ast.arguments, body: list[ast.stmt]) -> _Scope:
        own = dict.fromkeys(parameter.arg for parameter in _parameters(args))
        by_keyword = {parameter.arg for parameter in args.kwonlyargs}
        kept = frozenset(own) & (self._program.keywords | by_keyword)
        return _Scope({**own, **_bindings(body)}, _imports(body), kept)

    def _ClassDef(self, node: ast.ClassDef) -> None:
        self.parts.append("ClassDef")
        self.write(node.decorator_list)
        if self._scopes:
            self._name(node.name)
        self.write(node.bases)
        self.write(sorted(node.keywords, key=lambda keyword: keyword.arg or "~"))
        self._inside(_Scope(_bindings(node.body), is_class=True), node.body)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._scopes and self._scopes[-1].is_class:
            self._fields(node)
        elif node.value is not None:
            self.write(ast.Assign(targets=[node.target], value=node.value))

    def _Import(self, node: ast.Import | ast.ImportFrom) -> None:
        if not self._scopes or self._scopes[-1].is_class:
            self._fields(node)  # inside of an `if` or `try`: which one it is matters

    _ImportFrom = _Import

    def _ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self._name(node.name)
        self._fields(node, "name")


def _parameters(args: ast.arguments) -> list[ast.arg]:
    rest = [parameter for parameter in (args.vararg, args.kwarg) if parameter is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *rest]


def _imports(body: list[ast.stmt]) -> dict[str, str]:
    """Names that the statements themselves import, and the dotted name of what each stands for."""
    found: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _bindings(body: Sequence[ast.AST]) -> dict[str, None]:
    """Names that statements bind in their own scope, in order."""
    found: dict[str, None] = {}
    elsewhere: set[str] = set()
    for node in _own_nodes(body):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found[name] = None
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = None
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found[name] = None
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name.split(".")[0]: None for alias in names}
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere |= set(names)
            case _:
                pass
    return {name: None for name in found if name not in elsewhere}


def _own_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of a scope, in order, but not those of the scopes inside of it."""
    todo = list(reversed(body))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _Function | ast.ClassDef | ast.Lambda | _Comprehension):
            todo += reversed(list(ast.iter_child_nodes(node)))
