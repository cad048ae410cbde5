"""A language model as a student of a log: training, what it says of held-out choices, and what asking it costs."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.local.card import CARD, read_card
from agents.local.language_base import LanguageBase, load_base, with_adapter
from agents.local.language_scorer import Encoder, LanguageScorer, option_logs
from agents.local.student import load_student
from cli.inputs.corpora import make_corpus
from studies.distil.corpus import Corpus
from studies.distil.files import corpus_sha256
from studies.distil.language.check import log_one_by_one
from studies.distil.language.recipe import LanguageObjective, LanguageRecipe
from studies.distil.language.students import train_language_student
from studies.distil.race import race
from studies.distil.racers import DistributionRacer
from studies.distil.views import heldout_choices

OBJECTIVES: tuple[LanguageObjective, ...] = ("listwise", "tokens")

REPLY = '{"knob": "learning_rate", "new_value": 0.0006, "reason": "A larger step may learn faster in a short run."}'
"""Generation is timed over as many tokens as this has."""

SAMPLES = 5


def students(
    corpus: Corpus, base: str, seeds: int, folder: Path
) -> tuple[list[DistributionRacer], dict[str, dict[str, Any]]]:
    """Students of every objective and seed, and the untuned model. What is in the folder is not trained again."""
    racers = [DistributionRacer(f"{base}, untuned", LanguageScorer(load_base(base)))]
    training: dict[str, dict[str, Any]] = {}
    for objective in OBJECTIVES:
        for seed in range(seeds):
            home, name = folder / f"{objective}-{seed}", f"{base}, {objective}, seed {seed}"
            if not (home / CARD).is_file() or read_card(home).corpus_sha256 != corpus_sha256(corpus):
                shutil.rmtree(home, ignore_errors=True)
                train_language_student(corpus, home, base, LanguageRecipe(objective=objective, seed=seed))
            training[name] = read_card(home).metrics
            student = load_student(home)
            racers.append(DistributionRacer(name, student.scorer, student.card.temperature))
    return racers, training


def calibrated_or_not(sources: Sequence[str], base: str, folder: Path) -> dict[str, dict[str, Any]]:
    """One student for each log, of its first trials: what it says of the last ones with its temperature and without."""
    found: dict[str, dict[str, Any]] = {}
    for number, source in enumerate(sources):
        corpus, home = make_corpus([source], None), folder / f"own-{number}"
        card = train_language_student(corpus, home, base, LanguageRecipe())
        scorer = load_student(home).scorer
        racers = [DistributionRacer("with", scorer, card.temperature), DistributionRacer("without", scorer)]
        found[source] = {
            "train": len(corpus.train),
            "temperature": card.temperature,
            "train_cpu_s": card.metrics["train_cpu_s"],
            **race(corpus, racers)["proposers"],
        }
    return found


def costs(corpus: Corpus, base: str, student: Path, repeats: int = 3) -> dict[str, Any]:
    """Processor time of scoring all options and of writing replies, with one adapter, and the error of scoring."""
    import torch

    loaded = load_base(base)
    model = with_adapter(loaded, student).get_base_model().eval()
    scorer = LanguageScorer(LanguageBase(base, model, loaded.tokenizer))
    choice = heldout_choices(corpus)[0]
    question = Encoder(loaded.tokenizer, model.config).question(choice.situation)
    scorer.logits(choice.situation)
    prompt = torch.tensor([question.prompt])
    tokens = len(loaded.tokenizer(REPLY)["input_ids"])

    def write(samples: int) -> None:
        with torch.inference_mode():
            model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=samples > 1,
                num_return_sequences=samples,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=loaded.tokenizer.eos_token_id,
            )

    took = {
        "scoring_cpu_s": _median_s(lambda: scorer.logits(choice.situation), repeats),
        "reply_cpu_s": _median_s(lambda: write(1), repeats),
        "five_replies_cpu_s": _median_s(lambda: write(SAMPLES), repeats),
    }
    with torch.no_grad():
        tree = option_logs(model, question)
    places = range(0, len(question.answers), 9)
    return {
        **took,
        "options": len(question.answers),
        "prompt_tokens": len(question.prompt),
        "tree_tokens": len(question.trie.tokens),
        "reply_tokens": tokens,
        "reply_by_scoring": took["reply_cpu_s"] / took["scoring_cpu_s"],
        "five_replies_by_scoring": took["five_replies_cpu_s"] / took["scoring_cpu_s"],
        "largest_error": max(abs(float(tree[n]) - log_one_by_one(model, question, n)) for n in places),
        "error_places": len(places),
    }


def _median_s(what: Any, repeats: int) -> float:
    took: list[float] = []
    for _ in range(repeats):
        started = time.process_time()
        what()
        took.append(time.process_time() - started)
    return float(np.median(took))


def lines(training: dict[str, dict[str, Any]], cost: dict[str, Any]) -> list[str]:
    """The figures in sentences."""
    said = [
        f"{name}: {one['train_s']:.0f} s ({one['train_cpu_s']:.0f} s of CPU) for {one['epochs']} epochs, best "
        f"{one['best_epoch']}, temperature {one['temperature']:.2f}, peak {one['peak_bytes'] / 1e9:.2f} GB"
        for name, one in training.items()
    ]
    return [
        *said,
        f"scoring {cost['options']} options {1000 * cost['scoring_cpu_s']:.0f} ms of CPU; a reply of "
        f"{cost['reply_tokens']} tokens {cost['reply_by_scoring']:.1f} times that, five of them "
        f"{cost['five_replies_by_scoring']:.1f} times; "
        f"largest error of {cost['error_places']} log-probabilities {cost['largest_error']:.1e}",
    ]
