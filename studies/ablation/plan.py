"""The plan of a study: written down before the first campaign, and held against whoever goes on with it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from graph.workspace import Workspace
from memory.atomic import atomic_write_text
from memory.git.setup import check_tag
from rails.errors import UserError
from studies.ablation.arms import Arm

PLAN_FILE = "study.json"
STUDIES = "studies"
"""In `.nightshift` of a workspace: a folder for each study."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedArm(_Frozen):
    """An arm, as it is kept."""

    name: str
    overrides: dict[str, Any]


class Job(_Frozen):
    """One campaign of a study."""

    pair: int
    arm: int
    seed: int
    trials: int
    proposer: str
    overrides: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its folder and its result."""
        return f"{self.pair:04d}-{self.arm}"


class Plan(_Frozen):
    """What a study compares, and on what."""

    arms: tuple[PlannedArm, ...]
    trials: int
    first_seed: int = 0
    proposer: str
    """Of the arms that name none."""
    files_sha256: str
    """Of the workspace's files when the study began."""

    def jobs(self, pairs: int) -> Iterator[Job]:
        """All campaigns, pair by pair: each begins with another arm, so that whatever drifts hits all alike."""
        for pair in range(pairs):
            for place in range(len(self.arms)):
                arm = (pair + place) % len(self.arms)
                yield Job(
                    pair=pair,
                    arm=arm,
                    seed=self.first_seed + pair,
                    trials=self.trials,
                    proposer=self.arms[arm].overrides.get("proposer", self.proposer),
                    overrides=self.arms[arm].overrides,
                )


def make_plan(arms: tuple[Arm, ...], trials: int, proposer: str, files: dict[str, str]) -> Plan:
    """The plan of a study over a workspace's files."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{text}\0".encode())
    return Plan(
        arms=tuple(PlannedArm(name=arm.name, overrides=dict(arm.overrides)) for arm in arms),
        trials=trials,
        proposer=proposer,
        files_sha256=digest.hexdigest(),
    )


def study_folder(workspace: Workspace, name: str | None, plan: Plan) -> Path:
    """Where a study lies; without a name of its own it has one of what it compares.

    Raises:
        UserError: a name that cannot be a folder's.
    """
    if name is None:
        text = plan.model_dump_json(exclude={"files_sha256"})
        name = f"study-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    check_tag(name)
    return workspace.state_dir / STUDIES / name


def write_plan(folder: Path, plan: Plan) -> None:
    """Write the plan of a study down, where none is yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PLAN_FILE).exists():
        atomic_write_text(folder / PLAN_FILE, plan.model_dump_json(indent=2) + "\n")


def was_begun(folder: Path, plan: Plan) -> bool:
    """Whether this study was begun before.

    Raises:
        UserError: it was another study, or its workspace's files were changed since.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        return False
    try:
        begun = Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        what = f"the plan of this study cannot be read ({type(error).__name__})"
        raise UserError(what, where=str(path), fix="remove the folder, or choose another --name") from None
    if begun.model_copy(update={"files_sha256": plan.files_sha256}) != plan:
        arms = ",".join(arm.name for arm in begun.arms)
        what = f"a study of this name compares {arms} over {begun.trials} trials"
        raise UserError(what, where=str(folder), fix="choose another --name, or ask for the same arms and trials")
    if begun != plan:
        what = "the workspace's files are not what they were when this study began"
        raise UserError(what, where=str(folder), fix="choose another --name, or put the files back")
    return True
