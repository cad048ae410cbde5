"""Make a workspace: a person's files, the agent's file, a first commit."""

from importlib import resources
from pathlib import Path

from graph.workspace import Workspace
from memory.git.ratchet import init_workspace
from rails.errors import UserError
from tools.tabular import open_recorded
from trainer.hardware import resolve_device
from trainer.tasks.gpt import PROFILES, render_task_toml, render_train_py
from trainer.tasks.tabular import TableTask, render_knobs_py, render_table_toml

TABLE_PREFIX = "tabular:"
"""What the name of a task begins with that is a recorded table; the rest is the table's name."""

_GITIGNORE = ".nightshift/\n"


def create_workspace(root: Path, task: str = "gpt") -> Workspace:
    """Write program.md, task.toml and train.py into `root` and commit them.

    Args:
        root: the new workspace.
        task: `gpt`, for this machine's device; or `tabular:` and the name of a recorded table.

    Raises:
        UserError: unknown task or table, `root` is a workspace or a non-empty folder, or lies inside another
            repository.
    """
    if task != "gpt" and not task.startswith(TABLE_PREFIX):
        raise UserError(f"there is no task {task!r}", fix=f"choose gpt, or {TABLE_PREFIX}NAME with a recorded table")
    workspace = Workspace(root.expanduser().resolve())
    if workspace.exists:
        raise UserError("this is a workspace already", where=str(root), fix="run `nightshift run` in it")
    if workspace.root.is_dir() and any(workspace.root.iterdir()):
        raise UserError("the folder is not empty", where=str(root), fix="name a new or an empty folder")
    files = _gpt_files() if task == "gpt" else _table_files(task.removeprefix(TABLE_PREFIX))
    init_workspace(workspace.root, {".gitignore": _GITIGNORE, **files})
    return workspace


def _gpt_files() -> dict[str, str]:
    profile = PROFILES["cuda" if resolve_device("auto") == "cuda" else "cpu"]
    return {
        "program.md": _template("program.md"),
        "task.toml": render_task_toml(profile),
        "train.py": render_train_py(profile),
    }


def _table_files(name: str) -> dict[str, str]:
    """Raises UserError when there is no such table."""
    table = open_recorded(name)
    task = TableTask(
        table=name,
        title=table.facts.title,
        menu=table.menu,
        metric_name=table.metric_name,
        direction=table.direction,
        unit=table.unit,
        decimals=table.decimals,
    )
    policy = _template("program_table.md").replace("METRIC", task.metric_name).replace("WAY", task.way)
    return {"program.md": policy, "task.toml": render_table_toml(task), "train.py": render_knobs_py(task)}


def _template(name: str) -> str:
    return resources.files("graph").joinpath("templates", name).read_text(encoding="utf-8")
