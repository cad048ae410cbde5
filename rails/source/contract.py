"""The calls that tie a training script to its session: what a candidate must keep of them.

Said by what the script itself does, so a script that never had a call need not have it. Lint, like `rails.source.lint`:
it spares an honest model a trial that could not be scored.
"""

import ast
from dataclasses import dataclass

from rails.source.program import Program


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of the session, told from calls of the same name by how many arguments it has."""

    name: str
    arguments: int
    purpose: str


_CALLS = (
    _Call("Session.open()", 0, "it is how the program meets the parent that gives it data and scores it"),
    _Call("session.start(params=…, flops_per_token=…)", 2, "it starts the clock and brings the training data"),
    _Call("session.step(loss, tokens)", 2, "it reports each optimiser step, by which the budget is followed"),
    _Call(
        "session.finish(summary, save=…)", 2, "it hands over the trained weights, and without them there is no score"
    ),
    _Call("session.saved_state()", 0, "with it a replica loads the trained weights, and without it there is no score"),
    _Call("session.serve(logits_of)", 1, "it answers the parent's questions, and without it there is no score"),
)
_MODULE = "trainer.session"


def broken_contract(incumbent: Program, candidate: Program, class_name: str) -> str | None:
    """What the candidate no longer has of what ties it to its session and its knobs, as a reason; None when nothing."""
    if _imports_session(incumbent) and not _imports_session(candidate):
        return f"the candidate no longer imports {_MODULE}: it has to keep `from {_MODULE} import Session`"
    before, after = _calls(incumbent), _calls(candidate)
    for call in _CALLS if _imports_session(incumbent) else ():
        if _has(before, call) and not _has(after, call):
            return f"the candidate no longer calls {call.name}: {call.purpose}"
    if (class_name, 0) in before and class_name not in {name for name, _ in after}:
        return f"the candidate no longer makes {class_name}(): its fields would set nothing"
    return None


def _imports_session(program: Program) -> bool:
    return any(
        (isinstance(node, ast.ImportFrom) and node.module == _MODULE)
        or (isinstance(node, ast.Import) and any(alias.name == _MODULE for alias in node.names))
        for node in ast.walk(program.tree)
    )


def _calls(program: Program) -> set[tuple[str, int]]:
    """Name and number of arguments of every call; of one with starred arguments more than anybody asks for."""
    found: set[tuple[str, int]] = set()
    for node in ast.walk(program.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            starred = any(isinstance(part, ast.Starred) for part in node.args) or any(
                k.arg is None for k in node.keywords
            )
            found.add((name, 99 if starred else len(node.args) + len(node.keywords)))
    return found


def _has(calls: set[tuple[str, int]], wanted: _Call) -> bool:
    name = wanted.name.split("(")[0].split(".")[1]
    return any(called == name and count >= wanted.arguments for called, count in calls)
