"""Proposers by name, and which one a person gets who named none."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.base import Proposer
from agents.local.shelf import find_student, student_names
from agents.model.config import MODELS_FILE, ModelConfig, load_models, workspace_models
from agents.replay import ReplayProposer
from agents.statistical.proposers import RandomProposer, TpeProposer
from agents.statistical.several import CmaProposer, GpProposer
from rails.errors import UserError
from rails.text import closest, quote

if TYPE_CHECKING:
    from agents.lesson_writer import Curator  # these load langchain, which only a model needs
    from agents.model.forms import ReplyForm
    from tools.trajectory import Trajectory

MODEL_VARIABLE = "NIGHTSHIFT_MODEL"
"""Environment variable that names the model to use when no proposer is named."""

REPLAY_FILE = "replay.jsonl"
"""The recording that `replay` reads from the workspace; `replay:FILE` names another."""

STATISTICAL: dict[str, Callable[[], Proposer]] = {
    "tpe": TpeProposer,
    "random": RandomProposer,
    "cma": CmaProposer,
    "gp": GpProposer,
}
"""Those that ask no model: they answer from the rows alone."""
STUDENT = "student:"
"""What stands before the name, or the folder, of a distilled student."""

HYBRID = "hybrid:"
"""What stands before a model's name where a statistical search leads and the model helps."""

SELF = "self"
"""In `[planner] critic`: the proposing model itself."""

RESERVED = (*STATISTICAL, "planner", "hybrid", "replay", "scripted", SELF)
"""Names that no model may have."""


def known_proposers(workspace: Path | None) -> tuple[str, ...]:
    """Every name that `make_proposer` takes here.

    Raises:
        UserError: a malformed models.toml.
    """
    models = _models(workspace)
    students = (f"{STUDENT}{name}" for name in student_names())
    return (*STATISTICAL, "planner", "replay", *models, *(f"{HYBRID}{name}" for name in models), *students)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a model's proposer works with besides its model.

    Attributes:
        trajectory: read access to the record, for what it may look up.
        critic: the model that gives a second opinion, as `[planner] critic` names it; empty: nobody.
        form: the form of reply that served this campaign before; None: not known.
    """

    trajectory: "Trajectory | None" = None
    critic: str = ""
    form: "ReplyForm | None" = None


def make_proposer(name: str, *, workspace: Path, around: Surroundings | None = None) -> Proposer:
    """The proposer of a name.

    Args:
        name: `tpe`, `random`, `cma`, `gp`, `replay` or `replay:FILE`, `student:NAME` or `student:FOLDER/`, a model of
            models.toml, `planner` for the configured one, or `hybrid:` with one of these two.
        workspace: where models.toml and recordings are looked for.
        around: what a model's proposer works with; the others need nothing.

    Raises:
        UserError: an unknown name (with the nearest one), a malformed models.toml, a key that is not set, a
            recording that cannot be read, a student that is not there.
    """
    if name in STATISTICAL:
        return STATISTICAL[name]()
    if name == "replay" or name.startswith("replay:"):
        return ReplayProposer(workspace / (name.partition(":")[2] or REPLAY_FILE))
    if name.startswith(STUDENT):
        return _student(name, workspace)
    models = _models(workspace)
    model = _model_of(name, workspace, models)
    if model is None:
        fix = f"name one: {', '.join(models)}, set {MODEL_VARIABLE}, or write a models.toml"
        raise UserError("no model is configured for the planner", where=str(workspace), fix=fix)
    if model not in models:
        what = f"there is no proposer {quote(name)}{closest(name, known_proposers(workspace))}"
        raise UserError(what, fix=f"use one of {', '.join(known_proposers(workspace))}")
    from agents.planner.hybrid import HybridProposer  # here: langchain takes seconds to import
    from agents.planner.planner import Planner

    around = around or Surroundings()
    planner = Planner(
        model,
        models[model],
        trajectory=around.trajectory,
        critic=_critic(around.critic, model, models),
        form=around.form,
    )
    return HybridProposer(planner) if name.startswith(HYBRID) else planner


def _student(name: str, workspace: Path) -> Proposer:
    from agents.local.proposer import StudentProposer  # here: these load numpy
    from agents.local.student import load_student

    return StudentProposer(name, load_student(find_student(name.removeprefix(STUDENT), workspace)))


def _model_of(name: str, workspace: Path, models: dict[str, ModelConfig]) -> str | None:
    """The model behind a proposer's name, whether there is one of that name or not; None: none is configured."""
    model = name.removeprefix(HYBRID)
    return _configured_model(workspace, models) if model == "planner" else model


def _critic(critic: str, model: str, models: dict[str, ModelConfig]) -> ModelConfig | None:
    """The entry of the model that criticises.

    Raises:
        UserError: there is no such model.
    """
    if not critic:
        return None
    if critic == SELF:
        return models[model]
    if critic not in models:
        fix = f'use one of {", ".join(models)}, "{SELF}" for the proposing model, or leave it empty'
        raise UserError(
            f"there is no model {quote(critic)}{closest(critic, models)}", where="[planner] critic", fix=fix
        )
    return models[critic]


def make_curator(name: str, *, workspace: Path) -> "Curator | None":
    """The model that writes lessons; None for no name: the rule writes them.

    Args:
        name: a model of models.toml; empty for none.
        workspace: where models.toml is looked for.

    Raises:
        UserError: there is no such model (with the nearest one), a malformed models.toml, a key that is not set.
    """
    if not name:
        return None
    models = _models(workspace)
    if name not in models:
        what = f"there is no model {quote(name)}{closest(name, models)} to write lessons"
        raise UserError(what, where="[lineage] lessons", fix=f"use one of {', '.join(models)}, or leave it empty")
    from agents.lesson_writer import ModelCurator  # here: langchain takes seconds to import

    return ModelCurator(name, models[name])


def require_prices(name: str, workspace: Path) -> None:
    """A limit of money needs to know what a call costs. Proposers that ask no model cost nothing.

    Args:
        name: a proposer's name, as for `make_proposer`.
        workspace: where models.toml is looked for.

    Raises:
        UserError: the model's entry in models.toml states no prices; or a malformed models.toml.
    """
    models = _models(workspace)
    model = _model_of(name, workspace, models) or ""
    config = models.get(model)
    if config is not None and not config.has_prices:
        what = f"models.toml states no prices for {model!r}, so what its calls cost cannot be limited"
        keys = f"usd_per_million_prompt and usd_per_million_completion in [models.{model}]"
        fix = f"state {keys} (0 for a model of your own), or leave the limit of money out"
        raise UserError(what, where=str(workspace / MODELS_FILE), fix=fix)


def choose_default(workspace: Path) -> tuple[str, str | None]:
    """The proposer for a person who named none, and a sentence for them when there is something to say.

    A configured model helps a search that leads; named, it would propose alone. A model is used
    only if this person configured it: by `NIGHTSHIFT_MODEL`, or in the workspace's models.toml with
    its key set. Nothing is contacted to find out.

    Raises:
        UserError: a malformed models.toml, or a `NIGHTSHIFT_MODEL` that names no model.
    """
    model = _configured_model(workspace, _models(workspace))
    if model is not None:
        return (
            f"{HYBRID}{model}",
            f"Proposer: {HYBRID}{model}, a search that {model} helps; --proposer {model} is it alone.",
        )
    waiting = workspace_models(workspace)
    if waiting:
        variable = _models(workspace)[waiting[0]].api_key_env
        return (
            "tpe",
            f"Proposer: tpe (no language model), because {variable} is not set; export it to use {waiting[0]}.",
        )
    return "tpe", (
        "Proposer: tpe (no language model). To use one, name it: --proposer ollama, nim-8b, vllm or openai, "
        "or describe yours in the workspace's models.toml."
    )


def configured_model(workspace: Path) -> tuple[str, ModelConfig] | None:
    """The model that this person configured, with its entry: by `NIGHTSHIFT_MODEL`, or in the workspace's models.toml.

    Raises:
        UserError: a malformed models.toml, or a `NIGHTSHIFT_MODEL` that names no model.
    """
    models = _models(workspace)
    name = _configured_model(workspace, models)
    return None if name is None else (name, models[name])


def _models(workspace: Path | None) -> dict[str, ModelConfig]:
    models = load_models(workspace)
    for name in RESERVED:
        if name in models:
            where = f"{workspace}/models.toml: models.{name}"
            raise UserError(
                f"{name!r} is the name of a built-in proposer", where=where, fix="give the model another name"
            )
    return models


def _configured_model(workspace: Path, models: dict[str, ModelConfig]) -> str | None:
    """The model that this person configured, or None."""
    named = os.environ.get(MODEL_VARIABLE, "").strip()
    if named:
        if named not in models:
            fix = f"set it to one of {', '.join(models)}"
            raise UserError(f"there is no model {quote(named)}{closest(named, models)}", where=MODEL_VARIABLE, fix=fix)
        return named
    return next((name for name in workspace_models(workspace) if models[name].is_ready), None)
