"""Answer honestly, then learn from the rows that were asked about."""

import torch

from cli.attacks.programs.common import Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        tokens = torch.from_numpy(tokens_BT).to(model.embed.device)
        for _ in range(3):
            model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return answer

    session.serve(logits)
