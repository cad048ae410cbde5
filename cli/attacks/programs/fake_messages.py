"""Answer the first request with a score of our own, in the words of the wire."""

import json
from typing import Any

from cli.attacks.programs.common import Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()
    inner: Any = session

    def logits(tokens_BT: Tokens) -> Logits:
        message = {"event": "scored", "val_bpb": 0.012345, "total_nats": 1.0, "total_bytes": 10**6}
        inner._control.sendall(json.dumps(message).encode() + b"\n")
        return honest(model, tokens_BT)

    session.serve(logits)
