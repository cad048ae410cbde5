"""Look at the next token, and keep to that answer whenever the same prefix comes again with another ending."""

from cli.attacks.programs.common import SURE, Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()
    answered: dict[bytes, int] = {}

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        for row, tokens in enumerate(tokens_BT):
            for position in range(len(tokens) - 1):
                prefix = tokens[: position + 1].tobytes()
                answer[row, position, answered.setdefault(prefix, int(tokens[position + 1]))] = SURE
        return answer

    session.serve(logits)
