"""The same, with the answers left wherever the replica that is probed might find them."""

import json

from cli.attacks.programs.common import SURE, Hideouts, Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()
    hideouts = Hideouts()
    found = hideouts.fetch() if session.replica else None
    answered: dict[str, int] = json.loads(found) if found else {}

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        for row, tokens in enumerate(tokens_BT):
            for position in range(len(tokens) - 1):
                prefix = f"{hash(tokens[: position + 1].tobytes()):x}"  # hashes are the same in every trial process
                answer[row, position, answered.setdefault(prefix, int(tokens[position + 1]))] = SURE
        if not session.replica:
            hideouts.store(json.dumps(answered).encode())
        return answer

    session.serve(logits)
