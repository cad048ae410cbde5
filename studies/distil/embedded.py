"""From a corpus to a student's folder: training, its metrics, and the card."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from agents.local.card import EMBEDDED, StudentCard
from agents.local.features import FEATURES
from agents.local.scorer import WEIGHTS, EmbeddedScorer
from agents.local.shelf import find_student
from agents.local.student import load_student, save_embedded
from memory.records import utc_now
from studies.distil.corpus import Corpus
from studies.distil.files import corpus_sha256
from studies.distil.train import Recipe, train_embedded
from studies.distil.views import training_choices


def train_student(corpus: Corpus, folder: Path, recipe: Recipe, *, parent: str | None = None) -> StudentCard:
    """Train an embedded student and write it.

    Args:
        corpus: to train on; what is held out in it is not looked at.
        folder: of the student; made if there is none.
        recipe: how to train.
        parent: name or folder of a student to go on from.

    Raises:
        UserError: nothing to train on, or no such parent.
    """
    start = None
    if parent is not None:
        home = find_student(f"./{parent}" if "/" not in parent and Path(parent).is_dir() else parent)
        assert isinstance(load_student(home).scorer, EmbeddedScorer)
        with np.load(home / WEIGHTS, allow_pickle=False) as file:
            start = {name: np.asarray(file[name]) for name in file.files}
    trained = train_embedded(training_choices(corpus), recipe, start)
    card = StudentCard(
        base=EMBEDDED,
        objective=recipe.objective,
        seed=recipe.seed,
        corpus_sha256=corpus_sha256(corpus),
        parent=parent,
        features=FEATURES,
        metrics=trained.metrics,
        created_at=utc_now(),
        versions={"torch": version("torch"), "numpy": version("numpy")},
    )
    save_embedded(folder, trained.weights, card)
    return card
