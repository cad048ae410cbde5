"""From a corpus to the folder of a student that is a language model: its adapter, metrics and card."""

from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agents.local.card import CARD, StudentCard, read_card, write_card
from agents.local.language_base import LanguageBase, full_name, load_base, quiet, with_adapter
from agents.local.language_scorer import Encoder
from agents.local.shelf import find_student
from memory.records import utc_now
from rails.errors import UserError
from studies.distil.corpus import Corpus
from studies.distil.files import corpus_sha256
from studies.distil.language.adapter import add_adapter
from studies.distil.language.checkpoint import FILE
from studies.distil.language.loop import Report, Training, train_adapter
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.language.rows import make_rows
from studies.distil.train import parted
from studies.distil.views import training_choices

PACKAGES = ("torch", "transformers", "peft", "tokenizers")


def train_language_student(
    corpus: Corpus,
    folder: Path,
    base: str,
    recipe: LanguageRecipe,
    *,
    parent: str | None = None,
    report: Report = lambda done, total: None,
) -> StudentCard:
    """Train an adapter of a language model and write the student.

    Args:
        corpus: to train on; what is held out in it is not looked at.
        folder: of the student; made if there is none. A training that was killed there goes on.
        base: the model, as `load_base` takes it.
        recipe: how to train.
        parent: name or folder of a student of the same base to go on from.
        report: told after each epoch.

    Raises:
        UserError: nothing to train on, no such model or parent, or the extra `distil` is not installed.
    """
    loaded = load_base(base)
    home = _parent(parent, base)
    adapted = add_adapter(loaded.model, recipe) if home is None else with_adapter(loaded, home, trainable=True)
    encoder = Encoder(loaded.tokenizer, loaded.model.config)
    fit_on, check_on = parted(
        [choice for choice in training_choices(corpus) if choice.example.target is not None], recipe.validation_share
    )
    train = make_rows(fit_on, encoder, recipe)
    if not train:
        raise UserError("there is nothing to train on: no choice is a legal move", fix="give another corpus")
    sha = corpus_sha256(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    metrics = train_adapter(
        Training(
            model=adapted.get_base_model().eval(),  # eval: nothing is dropped out
            train=train,
            validation=make_rows(check_on, encoder, recipe),
            recipe=recipe,
            folder=folder,
            key=sha256(repr((sha, loaded.name, parent, sorted(asdict(recipe).items()))).encode()).hexdigest(),
        ),
        report,
    )
    card = StudentCard(
        base=loaded.name,
        objective=recipe.objective,
        seed=recipe.seed,
        corpus_sha256=sha,
        parent=parent,
        temperature=metrics["temperature"],
        metrics=metrics,
        created_at=utc_now(),
        versions={name: version(name) for name in PACKAGES},
    )
    _save(folder, adapted, loaded, card)
    return card


def _parent(parent: str | None, base: str) -> Path | None:
    if parent is None:
        return None
    home = find_student(f"./{parent}" if "/" not in parent and Path(parent).is_dir() else parent)
    theirs = read_card(home).base
    if theirs != full_name(base):
        what = f"{parent} is an adapter of {theirs}, and not of {base}"
        raise UserError(what, fix=f"say --base {theirs}, or leave --parent out")
    return home


def _save(folder: Path, adapted: Any, base: LanguageBase, card: StudentCard) -> None:
    """Adapter and card; the card last, so that a folder with one is whole."""
    import transformers

    adapted.peft_config["default"].base_model_name_or_path = base.name
    with quiet(transformers):
        adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
    write_card(folder, card)
    (folder / FILE).unlink(missing_ok=True)
