"""A small corpus for the arena, the same everywhere: functions in a made-up language, enough for a model to learn."""

import random
from pathlib import Path

FILES, FUNCTIONS = 420, 12
_STEMS, _ENDINGS = ("ka", "lo", "mi", "nu", "re", "si", "to", "vu"), ("", "ba", "den", "fi", "gor", "la")
WORDS = [stem + ending for stem in _STEMS for ending in _ENDINGS]


def write_corpus(folder: Path) -> Path:
    """Write about 0.9 MB of text files into `folder` and return it."""
    rng = random.Random(2025)
    folder.mkdir(parents=True)
    for index in range(FILES):
        text = "\n\n".join(_function(rng) for _ in range(FUNCTIONS))
        (folder / f"module_{index:03d}.txt").write_text(text, encoding="utf-8")
    return folder


def _function(rng: random.Random) -> str:
    """A function that calls a few others: names, numbers and indentation follow rules that a model can find."""
    first, second = rng.sample(WORDS, 2)
    lines = [f"def {rng.choice(WORDS)}_{rng.choice(WORDS)}({first}, {second}):"]
    lines += [
        f"    {first} = {rng.choice(WORDS)}({first}, {second}) + {rng.randrange(100)}"
        for _ in range(rng.randrange(2, 7))
    ]
    return "\n".join([*lines, f"    return {first}", ""])
