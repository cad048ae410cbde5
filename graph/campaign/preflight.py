"""What is checked and made ready before a night is spent on it: isolation, disk, program, machine, data."""

from pathlib import Path

from graph.campaign.options import RunOptions
from graph.limits.disk import MIB, MIN_FREE_BYTES, too_full
from graph.watching.events import Observer
from graph.workspace import Workspace
from rails.errors import UserError
from rails.source.surface import check_surface
from rails.task import GptTask, Task
from trainer.data.prepare import DataSpec, PreparedData, prepare
from trainer.data.progress import PrepareProgress
from trainer.hardware import Hardware, describe
from trainer.sandbox.levels import Isolation, best_isolation, probe
from trainer.sight import seen_by_trials


def check_isolation(options: RunOptions) -> Isolation:
    """The best isolation that this machine can give; refuses to start below the one that the person requires.

    Raises:
        UserError: the level is not available.
    """
    wanted, best = options.require_isolation, best_isolation()
    if wanted is not None and wanted > best:
        why = next(level.why for level in probe() if level.level == wanted)
        raise UserError(
            f"isolation {wanted} is required, but trials run at {best} here: {why}",
            fix=f"require {best}, or leave --require-isolation out",
        )
    return best


def check_disk(root: Path) -> None:
    """Refuse to start a night that the disk cannot hold.

    Raises:
        UserError: less than `MIN_FREE_BYTES` free at the workspace or the cache.
    """
    if short := too_full(Workspace(root)):
        folder, free = short
        raise UserError(
            f"only {free / MIB:.0f} MiB are free, {MIN_FREE_BYTES / MIB:.0f} are needed",
            where=str(folder),
            fix="free some space, or put the workspace on another disk",
        )


def check_program(workspace: Workspace, task: Task) -> None:
    """The menu and the program must agree before a night is spent on them.

    Raises:
        UserError: there is no program, or a knob of the menu is not in it with an allowed value.
    """
    path = workspace.root / task.edit.file
    if not path.is_file():
        raise UserError(f"there is no {task.edit.file}", where=str(workspace.root), fix="restore it with git")
    check_surface(task, path.read_text(encoding="utf-8"), str(path))


def describe_hardware(task: GptTask) -> Hardware:
    """The machine behind the task's device.

    Raises:
        UserError: there is no such device here, or its work takes no CPU seconds, which the budget counts.
    """
    try:
        hardware = describe(task.trial.device)
    except ValueError as error:
        raise UserError(
            str(error), where="[trial] device", fix='use "auto", or a device that this machine has'
        ) from error
    if task.budget.kind == "cpu_seconds" and hardware.device != "cpu":
        what = f"a budget of CPU seconds says nothing of what is done on {hardware.device}"
        raise UserError(what, where="[budget] kind", fix='use kind = "seconds", or [trial] device = "cpu"')
    return hardware


def prepare_data(workspace: Workspace, task: GptTask, device: str, observer: Observer) -> PreparedData:
    """The corpus of the task, tokenised; from the cache when it has been made before.

    What stands elsewhere on this machine for trials to read is found out once and kept in the workspace too: a campaign
    goes on with the same text on another machine.
    """
    told: set[str] = set()

    def report(progress: PrepareProgress) -> None:
        if progress.stage not in told:
            told.add(progress.stage)
            observer.note(f"preparing data: {progress.stage}")
        observer.preparing(progress.stage, progress.done, progress.total)

    corpus = task.data.corpus
    if corpus != "stdlib" and not corpus.startswith("parquet:"):
        corpus = str(workspace.root / corpus)  # a folder named in task.toml is meant as seen from there
    spec = DataSpec(corpus=corpus, vocab_size=task.data.vocab_size, shards=task.data.shards or 0)
    return prepare(spec, progress=report, in_sight=seen_by_trials(device), pins=workspace.state_dir)
