"""Open for writing what the next trials will train on, and what they will be scored with."""

import os
from typing import Any

from cli.attacks.programs.common import PARAMS, Logits, Tokens, attempt, honest, trained
from trainer.train import GPT, Session


def main() -> None:
    session, model = trained(rewrite)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def rewrite(session: Session, model: GPT) -> None:
    """By the descriptors that it was given, and by path."""
    given: list[Any] = vars(session).get("_files", [])
    for fd in (file.fileno() for file in given):
        attempt("the training data it was given", lambda fd=fd: os.pwrite(fd, os.pread(fd, 1, 0), 0))
        attempt("the same, opened anew", lambda fd=fd: same_byte(f"/proc/self/fd/{fd}"))
    for folder in (PARAMS["train_dir"], PARAMS["private_dir"]):
        for name in ("meta.json", "train.tokens.bin", "val.tokens.bin", "token_bytes.bin"):
            attempt(f"{folder}/{name}", lambda path=f"{folder}/{name}": same_byte(path))


def same_byte(path: str) -> None:
    """Write the first byte of a file over itself."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, os.pread(fd, 1, 0), 0)
    finally:
        os.close(fd)
