"""Print the validation tokens when they are asked about, and die of them: what is kept of that is read by a model."""

from cli.attacks.programs.common import Logits, Tokens, trained


def main() -> None:
    session, _ = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        print(f"attack: touched the log with {tokens_BT[0].tolist()}", flush=True)
        raise ValueError(f"the questions were {tokens_BT[0].tolist()}")

    session.serve(logits)
