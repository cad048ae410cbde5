"""Make a workspace: a person's files, the agent's file, a first commit."""

from importlib import resources
from pathlib import Path

from graph.workspace import Workspace
from memory.git.ratchet import init_workspace
from rails.errors import UserError
from trainer.hardware import resolve_device
from trainer.tasks.gpt import PROFILES, render_task_toml, render_train_py

TASKS = ("gpt",)

_GITIGNORE = ".nightshift/\n"


def create_workspace(root: Path, task: str = "gpt") -> Workspace:
    """Write program.md, task.toml and train.py for this machine's device into `root` and commit them.

    Raises:
        UserError: unknown task, `root` is a workspace or a non-empty folder, or lies inside another repository.
    """
    if task not in TASKS:
        raise UserError(f"there is no task {task!r}", fix=f"choose one of: {', '.join(TASKS)}")
    workspace = Workspace(root.expanduser().resolve())
    if workspace.exists:
        raise UserError("this is a workspace already", where=str(root), fix="run `nightshift run` in it")
    if workspace.root.is_dir() and any(workspace.root.iterdir()):
        raise UserError("the folder is not empty", where=str(root), fix="name a new or an empty folder")
    profile = PROFILES["cuda" if resolve_device("auto") == "cuda" else "cpu"]
    init_workspace(
        workspace.root,
        {
            ".gitignore": _GITIGNORE,
            "program.md": _template("program.md"),
            "task.toml": render_task_toml(profile),
            "train.py": render_train_py(profile),
        },
    )
    return workspace


def _template(name: str) -> str:
    return resources.files("graph").joinpath("templates", name).read_text(encoding="utf-8")
