"""The house rules that a newcomer relies on: ceilings, docstrings, packages, and what the documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("agents", "cli", "graph", "memory", "rails", "studies", "tools", "trainer")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
AGENT_EDITED = ROOT / "trainer" / "train.py"
CROWDED = {"cli/attacks/programs", "cli/commands", "tests/support"}
"""Folders of one module an item, which may be many."""
PROGRAMS = ROOT / "cli" / "attacks" / "programs"
"""Each is one `main` that is spliced into train.py; the module says what it does."""


def test_files_stay_short() -> None:
    long = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES if p != AGENT_EDITED}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
    assert {p.name: n for p in TESTS if (n := len(p.read_text().splitlines())) > 600} == {}


def imported(path: Path) -> set[str]:
    """The modules of ours that a module imports, also inside functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys() - {name_of(path)}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {name_of(path): path for path in SOURCES if path.name != "__init__.py"}


def room_of(module: str) -> str:
    """The folder of a module; what lies directly in a package counts singly."""
    return module if module.count(".") == 1 else module.rpartition(".")[0]


def test_no_modules_and_no_folders_import_each_other_in_a_circle() -> None:
    modules = {name: imported(path) for name, path in MODULES.items()}
    TopologicalSorter(modules).prepare()  # raises CycleError, which names the circle
    rooms: dict[str, set[str]] = defaultdict(set)
    for name, others in modules.items():
        rooms[room_of(name)] |= {room_of(other) for other in others} - {room_of(name)}
    TopologicalSorter(rooms).prepare()


def test_folders_stay_small() -> None:
    files = Counter(path.parent for path in (*SOURCES, *TESTS) if path.name != "__init__.py")
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in files.items() if count > 15}
    assert set(crowded) <= CROWDED, crowded


def test_every_folder_says_what_lives_there() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            said = ast.get_docstring(ast.parse(path.read_text())) or ""
            assert said.split("\n")[0].endswith("."), path


def functions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of a module and methods of its classes; what is nested in them counts as their body."""
    found = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return found + [method for node in body if isinstance(node, ast.ClassDef) for method in functions(node.body)]


def test_functions_stay_short_and_public_ones_are_documented() -> None:
    long: list[str] = []
    undocumented: list[str] = []
    for path in SOURCES:
        for node in functions(ast.parse(path.read_text()).body):
            place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            if path != AGENT_EDITED and (node.end_lineno or node.lineno) - node.lineno >= 60:
                long.append(place)
            if PROGRAMS not in path.parents and not node.name.startswith("_") and ast.get_docstring(node) is None:
                undocumented.append(place)
    assert long == []
    assert undocumented == []


def reexports(node: ast.stmt) -> bool:
    """Whether a statement only passes on names of the package's own modules."""
    match node:
        case ast.ImportFrom():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case _:
            return False


def test_every_folder_is_an_installed_package_and_holds_no_code_in_init() -> None:
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    installed = set(find_packages(str(ROOT), include=include))
    assert {".".join(p.parent.relative_to(ROOT).parts) for p in SOURCES} <= installed
    assert [str(p.parent) for p in SOURCES if not (p.parent / "__init__.py").exists()] == []
    for path in SOURCES:
        if path.name == "__init__.py":
            assert all(isinstance(node, ast.Expr) or reexports(node) for node in ast.parse(path.read_text()).body), path


def test_no_init_files_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_heavy_libraries_are_not_loaded_by_light_commands() -> None:
    heavy = ("torch", "guardrails", "langgraph", "optuna", "git")
    code = f"import sys, cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("reads", ["show.progress_rows", "show.trial", "show.difference", "watch.screen"])
def test_who_only_reads_does_not_load_the_loop(reads: str) -> None:
    code = f"import sys, cli.{reads}; print([m for m in ('graph.services', 'tools.gpt') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_documents_name_files_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    mentioned = set(re.findall(rf"`((?:{'|'.join(PACKAGES)}|docs|benchmarks|tests)/[\w./-]+)`", text))
    assert [place for place in sorted(mentioned) if not (ROOT / place).exists()] == []
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)\)", text)
    assert mentioned or links
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []
