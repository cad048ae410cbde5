"""The house rules that a newcomer relies on: ceilings, docstrings, packages, and what the documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("agents", "cli", "graph", "memory", "rails", "tools", "trainer")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
AGENT_EDITED = ROOT / "trainer" / "train.py"
PROGRAMS = ROOT / "cli" / "attacks" / "programs"
"""Each is one `main` that is spliced into train.py; the module says what it does."""


def test_files_stay_short() -> None:
    long = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES if p != AGENT_EDITED}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
    assert {p.name: n for p in TESTS if (n := len(p.read_text().splitlines())) > 600} == {}


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


def test_every_folder_is_an_installed_package_and_holds_no_code_in_init() -> None:
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    installed = set(find_packages(str(ROOT), include=include))
    assert {".".join(p.parent.relative_to(ROOT).parts) for p in SOURCES} <= installed
    assert [str(p.parent) for p in SOURCES if not (p.parent / "__init__.py").exists()] == []
    for path in SOURCES:
        if path.name == "__init__.py":
            assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body), path


def test_no_init_files_under_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_heavy_libraries_are_not_loaded_by_light_commands() -> None:
    heavy = ("torch", "guardrails", "langgraph", "optuna", "git")
    code = f"import sys, cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("reads", ["show.progress_rows", "show.trial", "show.difference", "watch.screen"])
def test_who_only_reads_does_not_load_the_loop(reads: str) -> None:
    code = f"import sys, cli.{reads}; print([m for m in ('graph.services', 'tools.trainer_tool') if m in sys.modules])"
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
