"""A whole study: planned, run in workers, gone on with after a kill, and summed up."""

import hashlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from agents.registry import STATISTICAL, choose_default, make_proposer, require_prices
from graph.campaign.options import RunOptions
from graph.campaign.overrides import options_with, task_with
from graph.workspace import Workspace
from memory.atomic import atomic_write_text
from memory.lock import workspace_lock
from rails.errors import UserError
from rails.task import TabularTask, Task, load_task
from studies.ablation.arms import Arm, asks_a_model
from studies.ablation.campaign import FILES, RESULTS, Places, files_of
from studies.ablation.crew import Crew
from studies.ablation.outcome import Outcome
from studies.ablation.plan import Job, Plan, PlannedArm, make_plan, study_folder, was_begun, write_plan

MEMORY = Path("/dev/shm")
"""A file system in memory, where there is one."""

MEMORY_BYTES = 256 << 20
"""Room that it must have."""

GIVE_UP_AFTER = 3
"""So many failures of one arm in a row end the study: more would cost the same and say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the person asked for."""

    arms: tuple[Arm, ...]
    pairs: int
    trials: int
    workers: int = 2
    name: str | None = None
    hours: float | None = None
    """No campaign begins after this time; None: no limit."""
    usd: float | None = None
    """No campaign begins once all of them have cost this; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study that is ready to run, or was run."""

    folder: Path
    plan: Plan
    pairs: int
    task: Task
    files: Mapping[str, str]
    """What every workspace starts from."""
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    """What has been recorded, by the names of jobs; failures among them."""

    @property
    def models(self) -> bool:
        """Whether any arm asks a language model."""
        arms = [
            (arm.overrides.get("proposer", self.plan.proposer), task_of_arm(self.task, arm)) for arm in self.plan.arms
        ]
        return any(asks_a_model(name) or task.lineage.lessons or task.proposer.fallback for name, task in arms)

    @property
    def quick(self) -> bool:
        """Whether a campaign takes seconds and costs nothing, so that a killed one is run again from its beginning."""
        return isinstance(self.task, TabularTask) and not self.models

    def missing(self) -> list[Job]:
        """The campaigns that are to be run: never begun, unfinished, or failed."""
        done = {name for name, outcome in self.outcomes.items() if outcome.failed is None}
        return [job for job in self.plan.jobs(self.pairs) if job.name not in done]


def task_of_arm(task: Task, arm: PlannedArm) -> Task:
    """The task as an arm has it."""
    return task_with(task, arm.overrides)


def ready_study(directory: Path, wishes: Wishes) -> Study:
    """Check everything that can be checked before a campaign begins; nothing is written.

    Raises:
        UserError: no workspace, an arm that its task or the registry does not know, a model without a price under a
            limit of money, or another study of the same name.
    """
    workspace = Workspace(directory.expanduser().resolve())
    task, files = load_task(workspace.task_path), files_of(workspace)
    proposer = choose_default(workspace.root)[0]
    for arm in wishes.arms:
        _check_arm(arm, task, proposer, workspace.root, wishes.usd)
    plan = make_plan(wishes.arms, wishes.trials, proposer, files)
    folder = study_folder(workspace, wishes.name, plan)
    outcomes = _recorded(folder) if was_begun(folder, plan) else {}
    return Study(folder=folder, plan=plan, pairs=wishes.pairs, task=task, files=files, outcomes=outcomes)


def _check_arm(arm: Arm, task: Task, proposer: str, root: Path, usd: float | None) -> None:
    name = options_with(RunOptions(proposer=proposer), arm.overrides).proposer or proposer
    own = task_with(task, arm.overrides)
    make_proposer(name, workspace=root)
    wanted = {"cma": "knobs", "gp": "knobs"}.get(name, "knob" if name in STATISTICAL else None)
    if wanted is not None and wanted not in own.edit.modes:
        what = f"the arm {arm.name} proposes edits of another form than edit.modes allows"
        raise UserError(what, where="task.toml", fix=f'add "{wanted}" to edit.modes')
    if usd is not None:
        require_prices(name, root)


def _recorded(folder: Path) -> dict[str, Outcome]:
    """What earlier runs of the study came to; a file that is no outcome is as good as none."""
    found: dict[str, Outcome] = {}
    for path in sorted((folder / RESULTS).glob("*.json")):
        try:
            found[path.stem] = Outcome.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            continue
    return found


def run_study(study: Study, wishes: Wishes, told: Callable[[Job, Outcome], None]) -> str | None:
    """Run what is missing.

    Args:
        study: as `ready_study` made it; its outcomes are filled in.
        wishes: limits and workers.
        told: called after each campaign with what it came to.

    Returns:
        Why it stopped before its end; None when all campaigns were run.

    Raises:
        BusyError: another process runs this study.
        KeyboardInterrupt: Ctrl-C; what is recorded stays, and the study can be gone on with.
    """
    with workspace_lock(study.folder / "lock"), _memory(study) as memory:
        write_plan(study.folder, study.plan)
        for name in (RESULTS, FILES):
            (study.folder / name).mkdir(exist_ok=True)
        for name, text in study.files.items():
            atomic_write_text(study.folder / FILES / name, text)
        jobs = _Jobs(study, wishes)

        def done(job: Job, outcome: Outcome) -> None:
            study.outcomes[job.name] = outcome
            jobs.heard(outcome)
            told(job, outcome)

        crew = Crew(Places(study.folder, memory), min(wishes.workers, max(1, len(study.missing()))), done)
        crew.run(iter(jobs))
        return jobs.stopped


class _Jobs:
    """The campaigns that are missing, until a limit is reached or an arm is hopeless."""

    def __init__(self, study: Study, wishes: Wishes) -> None:
        self._study, self._wishes = study, wishes
        self._started = time.monotonic()
        self._failures = Counter[int]()
        self.stopped: str | None = None

    def __iter__(self) -> Iterator[Job]:
        for job in self._study.missing():
            self.stopped = self._reason()
            if self.stopped is not None:
                return
            yield job

    def heard(self, outcome: Outcome) -> None:
        """Take note of a campaign's end."""
        self._failures[outcome.arm] = 0 if outcome.failed is None else self._failures[outcome.arm] + 1

    def _reason(self) -> str | None:
        arm, failed = max(self._failures.items(), key=lambda item: item[1], default=(0, 0))
        if failed >= GIVE_UP_AFTER:
            return f"the arm {self._study.plan.arms[arm].name} failed {failed} times in a row"
        hours, usd = self._wishes.hours, self._wishes.usd
        if hours is not None and time.monotonic() - self._started >= 3600 * hours:
            return f"limit of {hours:g} hours reached"
        spent = sum(outcome.measures.get("usd") or 0.0 for outcome in self._study.outcomes.values())
        return f"limit of {usd:g} dollars reached" if usd is not None and spent >= usd else None


@contextmanager
def _memory(study: Study) -> Generator[Path | None]:
    """A folder in memory for campaigns that are run again when they are killed; None where they must not be."""
    if not study.quick:
        yield None
        return
    name = f"nightshift-{os.getuid()}-{hashlib.sha256(str(study.folder).encode()).hexdigest()[:12]}"
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    folder = (MEMORY if roomy else Path(tempfile.gettempdir())) / name
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
