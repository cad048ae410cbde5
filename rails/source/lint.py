"""Notice a candidate that reaches for what training does not need. Lint, not security.

Static checks of Python are trivially escaped (10 of 14 simple escapes passed ones like these when measured). They keep
honest models from wasting a trial on something the sandbox will refuse; the sandbox is the boundary.
"""

import ast

from rails.source.program import Program

FORBIDDEN_MODULES = frozenset(
    {
        *("aiohttp", "asyncio", "ftplib", "grpc", "http", "httpx", "requests", "select", "selectors", "smtplib"),
        *("socket", "socketserver", "ssl", "telnetlib", "urllib", "urllib3", "webbrowser", "xmlrpc"),
        *("cffi", "code", "concurrent", "ctypes", "importlib", "imp", "multiprocessing", "pkgutil", "pty", "runpy"),
        *("signal", "site", "subprocess"),
        *("agents", "cli", "graph", "memory", "rails", "tools", "trainer"),  # the harness itself
    }
)
"""Top-level modules whose import a candidate may not add; those that the incumbent imports already are fine."""
FORBIDDEN_CALLS = frozenset({"__import__", "compile", "eval", "exec"})


def forbidden_use(incumbent: Program, candidate: Program) -> str | None:
    """What the candidate newly imports or calls that it should not, as a reason; None when nothing."""
    modules = _imports(candidate) - _imports(incumbent)
    for module in sorted(modules):
        if module.split(".")[0] in FORBIDDEN_MODULES:
            return f"a candidate may not import {module}"
    for name in sorted(_calls(candidate) - _calls(incumbent)):
        return f"a candidate may not call {name}()"
    return None


def _imports(program: Program) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(program.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} if node.module else {f"{'.' * node.level}"}
    return found


def _calls(program: Program) -> set[str]:
    names = (
        node.func.id
        for node in ast.walk(program.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return set(names) & FORBIDDEN_CALLS
