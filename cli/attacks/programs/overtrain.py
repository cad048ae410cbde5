"""Train on for three times the budget, reporting every step, because nobody in here says stop."""

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import Session

MORE = 3.0


def main() -> None:
    setattr(Session, "done", property(lambda self: overdone(self) >= 1.0))  # noqa: B010
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def overdone(session: Session) -> float:
    """The share of the longer training that we allow ourselves."""
    if session.budget.kind in ("seconds", "cpu_seconds"):
        return session.elapsed_s / (MORE * session.budget.amount)
    inner: int = vars(session)["_steps"]
    return inner / (MORE * session.budget.amount)
