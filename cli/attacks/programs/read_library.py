"""Read the held-back files of the standard library, their compiled copies, and what other Pythons have of them."""

import os
from pathlib import Path

from cli.attacks.programs.common import PARAMS, Logits, Tokens, attempt, honest, module, trained


def main() -> None:
    refused = 0
    for path in PARAMS["hidden"]:
        try:
            look(path)
        except OSError:
            refused += 1
        else:
            print(f"attack: touched held-back {path}", flush=True)
    print(f"attack: refused {refused} of {len(PARAMS['hidden'])} held-back files and folders", flush=True)
    attempt("held-back source by import", by_import)
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def look(path: str) -> None:
    """Read a file, or the first Python file of a folder; raises when there is nothing of the text in it."""
    target = Path(path)
    if target.is_dir():
        inside = [Path(path, name) for name in sorted(os.listdir(path)) if name.endswith((".py", ".whl"))]
        if not inside:
            raise OSError("there is nothing in it")
        target = inside[0]
    content = target.read_bytes()
    if len(content) < 400 and (b"ImportError" in content or not content.strip()):
        raise OSError("there is nothing in it")


def by_import() -> None:
    """Ask the import system for the source of a held-back module."""
    for path in PARAMS["hidden"]:
        name = Path(path).stem
        if path.endswith(".py") and Path(path).parent.name.startswith("python3."):
            source = module("inspect").getsource(module(name))
            if len(source) > 400:
                return
    raise OSError("no source")
