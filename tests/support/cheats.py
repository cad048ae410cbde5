"""Dishonest variants of the stand-in: its source with another answer to the questions of scoring."""

import json
from difflib import unified_diff
from pathlib import Path

STANDIN = Path(__file__).with_name("standin_train.py").read_text(encoding="utf-8")

HONEST = "    session.serve(model.logits)\n"

PEEK = '''
def peeking(model: NGram) -> object:
    """Knows the next token: it is in the row."""

    def logits(inputs: Tokens) -> Floats:
        answers, following = model.logits(inputs), inputs[:, 1:]
        rows, positions = np.indices(following.shape)
        answers[rows, positions, following] += 8.0
        return answers

    return logits
'''

MEMORISE = '''
def memorising(model: NGram) -> object:
    """Knows the next token, and for a prefix it has seen before the one that followed it then."""
    followed: dict[int, int] = {}

    def logits(inputs: Tokens) -> Floats:
        answers = model.logits(inputs)
        for row, answer in zip(inputs, answers, strict=True):
            prefix = 0
            for t, (token, following) in enumerate(zip(row[:-1].tolist(), row[1:].tolist(), strict=True)):
                prefix = hash((prefix, token))
                answer[t, followed.setdefault(prefix, following)] += 8.0
        return answers

    return logits
'''

LEARN = '''
def learning(model: NGram) -> object:
    """Goes on learning from the text that it is asked about."""

    def logits(inputs: Tokens) -> Floats:
        answers = model.logits(inputs)
        model.learn(inputs[:, :-1], inputs[:, 1:])
        return answers

    return logits
'''

BATCH = '''
def batching(model: NGram) -> object:
    """Leans to the tokens that are frequent in the batch."""

    def logits(inputs: Tokens) -> Floats:
        counts = np.bincount(inputs.ravel(), minlength=model.vocab_size) + 1.0
        return (model.logits(inputs) + 0.5 * np.log(counts / counts.mean())).astype(np.float32)

    return logits
'''

NOISE = '''
def noisy(model: NGram) -> object:
    """Answers a little differently each time."""
    rng = np.random.default_rng()

    def logits(inputs: Tokens) -> Floats:
        answers = model.logits(inputs)
        return (answers + rng.normal(scale=0.3, size=answers.shape)).astype(np.float32)

    return logits
'''

CHEATS = {
    "looks ahead": (PEEK, "peeking(model)"),
    "looks ahead with a memory": (MEMORISE, "memorising(model)"),
    "learns while scored": (LEARN, "learning(model)"),
    "uses the batch": (BATCH, "batching(model)"),
    "is noisy": (NOISE, "noisy(model)"),
}


def cheating(name: str, source: str = STANDIN) -> str:
    """The program `source` with the cheat of this name."""
    code, answer = CHEATS[name]
    changed = source.replace("\ndef main()", f"{code}\n\ndef main()")
    changed = changed.replace(HONEST, HONEST.replace("model.logits", answer))
    assert changed.count(answer) == 1
    return changed


def outside_its_state(source: str = STANDIN) -> str:
    """A program that forgets to save a part of what it has learned."""
    everything, part = "(self.unigram, self.bigram, self.trigram)", "(self.unigram, self.bigram)"
    head, tail = source.split("    def save(")
    assert tail.count(everything) == 2
    return f"{head}    def save({tail.replace(everything, part)}"


def proposal(changed: str, root: Path) -> str:
    """The proposal that turns the workspace's program into this one."""
    before = (root / "train.py").read_text(encoding="utf-8")
    lines = unified_diff(before.splitlines(True), changed.splitlines(True), "a/train.py", "b/train.py")
    return json.dumps({"diff": "".join(lines), "hypothesis": "it looks better", "expected_delta": -0.1, "reason": "x"})
