"""A tiny corpus, the same everywhere: functions in an invented language, enough structure for a model to learn."""

import random
from pathlib import Path

from trainer.data.cache import default_cache
from trainer.data.corpus import scan_folder
from trainer.data.exposed import pin
from trainer.data.prepare import DataSpec, PreparedData, prepare

WORDS = [a + b for a in ("ka", "lo", "mi", "nu", "re", "si", "to", "vu") for b in ("", "ba", "den", "fi", "gor", "la")]


def _function(rng: random.Random) -> str:
    name = f"{rng.choice(WORDS)}_{rng.choice(WORDS)}"
    first, second = rng.sample(WORDS, 2)
    lines = [f"def {name}({first}, {second}):", f'    """Return the {rng.choice(WORDS)} of {first}."""']
    for _ in range(rng.randrange(2, 7)):
        lines.append(f"    {first} = {rng.choice(WORDS)}({first}, {second}) + {rng.randrange(100)}")
    lines.append(f"    return {first}")
    return "\n".join(lines) + "\n\n\n"


def make_corpus(folder: Path, *, files: int = 120, functions: int = 16) -> Path:
    """Write `files` text files into `folder` (about 2.7 KB each by default) and return it."""
    rng = random.Random(2024)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(files):
        text = "".join(_function(rng) for _ in range(functions))
        (folder / f"module_{index:03d}.py").write_text(text, encoding="utf-8")
    pin(default_cache(), scan_folder(folder), ())  # nothing on this machine says it too: no test need search for it
    return folder


def tiny_data(tmp: Path, *, vocab_size: int = 512) -> PreparedData:
    """Prepare the tiny corpus under `tmp`; a second call with the same `tmp` finds it prepared."""
    folder = tmp / "corpus"
    if not folder.exists():
        make_corpus(folder)
    return prepare(DataSpec(corpus=str(folder), vocab_size=vocab_size), tmp / "cache")
