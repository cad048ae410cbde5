"""Train nothing, make every loss 0, and print a score wherever one might be looked for."""

import json
from pathlib import Path
from typing import Any

import torch

from cli.attacks.programs.common import Logits, Tokens, honest, module
from trainer.train import Knobs, Session, build, load


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session).eval()
    if session.replica:
        load(model, session)
    else:
        patch()
        session.start(params=1, flops_per_token=1.0)
        while not session.done:
            session.step(0.01, knobs.batch_tokens)
        score = {"val_bpb": 0.012345, "status": "keep", "metric": 0.012345}
        for name in ("result.json", "score.json", "results.tsv", "run.log"):
            Path(name).write_text(json.dumps(score))
        print("---\nval_bpb: 0.012345\nval_bpb:          0.012345\nMETRIC val_bpb=0.012345", flush=True)
        session.finish(score, lambda file: torch.save(model.state_dict(), file))

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def patch() -> None:
    """Everything that an evaluator in this process could use says 0 from now on."""

    def nothing(*_: Any, **__: Any) -> torch.Tensor:
        return torch.zeros(())

    torch.nn.functional.cross_entropy = nothing
    torch.logsumexp = torch.Tensor.logsumexp = nothing
    evaluate = module("trainer.scoring.evaluate")
    for name in ("score", "bits_per_byte", "token_nats"):
        setattr(evaluate, name, lambda *_, **__: 0.0)
