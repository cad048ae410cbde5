"""What a campaign meets: the machine or table that it is measured on, and the backend that measures it there."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from graph.campaign.options import RunOptions
from graph.campaign.preflight import check_isolation, describe_hardware, prepare_data
from graph.limits.meters import Meter, metered
from graph.watching.events import Observer
from graph.workspace import Workspace
from rails.errors import UserError
from rails.task import GptTask, LimitsConfig, TabularTask, Task
from tools.backend import Backend
from tools.gpt import GptBackend
from tools.tabular import TabularBackend, check_task, open_recorded
from trainer.budget import Pace
from trainer.hardware import Hardware
from trainer.sandbox.processes import clear_leftovers

PaceOfBaseline = Callable[[], Pace | None]
"""How fast the baseline started and answered, once that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a campaign meets."""

    pinned_sha256: str
    """Of what is measured on: a text, or a table."""
    hardware: Hardware
    """What is compared only with itself: this machine, or the table."""
    isolation: str
    make_backend: Callable[[PaceOfBaseline], Backend[Any]]
    meter: Callable[[LimitsConfig], AbstractContextManager[Meter | None]]
    """What energy is read from."""


def circumstances_of(workspace: Workspace, task: Task, options: RunOptions, observer: Observer) -> Circumstances:
    """Make ready what a task is measured on.

    Raises:
        UserError: something that the task or a person asks for is not to be had here.
    """
    if isinstance(task, TabularTask):
        return _of_table(task)
    if not isinstance(task, GptTask):
        raise UserError(f"nothing here can run a task of this kind: {type(task).__name__}")
    isolation = check_isolation(options)
    hardware = describe_hardware(task)
    data = prepare_data(workspace, task, hardware.device, observer)

    def backend(pace: PaceOfBaseline) -> GptBackend:
        clear_leftovers(workspace.scratch_dir)
        return GptBackend(task, data, hardware, workspace.scratch_dir, isolation, pace)

    return Circumstances(
        pinned_sha256=data.corpus_sha256,
        hardware=hardware,
        isolation=isolation,
        make_backend=backend,
        meter=partial(metered, hardware.device),
    )


def _of_table(task: TabularTask) -> Circumstances:
    """A table is the same on every machine: a campaign may move, and nothing is measured again."""
    table = open_recorded(task.task.table)
    check_task(task, table)
    hardware = Hardware(
        device="table",
        device_name=table.name,
        device_memory_bytes=None,
        cpu_model=f"recorded table {table.sha256[:12]}",
        cores=0,
        memory_bytes=0,
        torch_version=None,
        driver=None,
    )
    return Circumstances(
        pinned_sha256=table.sha256,
        hardware=hardware,
        isolation=TabularBackend.isolation,
        make_backend=lambda pace: TabularBackend(table, task.edit.class_name),
        meter=_no_meter,
    )


@contextmanager
def _no_meter(limits: LimitsConfig) -> Generator[None]:
    """Reading a table takes no energy to speak of.

    Raises:
        UserError: there is a limit of joules.
    """
    if limits.joules:
        what = f"a limit of {limits.joules:g} joules cannot be kept: a recorded table takes none"
        raise UserError(what, where="--joules or [limits] joules", fix="set it to 0 for no limit")
    yield
