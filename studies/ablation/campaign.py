"""One campaign of a study, in a workspace of its own: a store that two shared would pool their noise."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graph.campaign.open import open_campaign
from graph.campaign.options import RunOptions
from graph.campaign.overrides import options_with
from graph.runner import Runner
from graph.watching.events import Observer
from graph.workspace import Workspace
from memory.git.setup import init_workspace
from rails.errors import UserError
from studies.ablation.outcome import Outcome, outcome_of
from studies.ablation.plan import Job

FILES, CAMPAIGNS, RESULTS = "files", "campaigns", "results"
"""Folders of a study: what each workspace starts from, the workspaces, and what their campaigns came to."""

_OURS = "results.tsv"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study's campaigns live."""

    study: Path
    memory: Path | None
    """A folder in memory for campaigns that are so short that a killed one is run again; None: in the study itself."""

    def result(self, job: Job) -> Path:
        """The file that says what a campaign came to."""
        return self.study / RESULTS / f"{job.name}.json"

    def workspace(self, job: Job) -> Path:
        """Where a campaign's workspace stays."""
        return self.study / CAMPAIGNS / job.name


def files_of(workspace: Workspace) -> dict[str, str]:
    """A person's files in a workspace, which every campaign of a study starts from.

    Raises:
        UserError: one of them is no text.
    """
    found: dict[str, str] = {}
    for path in sorted(workspace.root.iterdir()):
        if not path.is_file() or path.name == _OURS or (path.name.startswith(".") and path.name != ".gitignore"):
            continue
        try:
            found[path.name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            fix = "move it out of the workspace while the study begins"
            raise UserError(
                "this file is no text, and a study starts from text alone", where=str(path), fix=fix
            ) from None
    return found


def run_job(job: Job, places: Places) -> Outcome:
    """Run a campaign to its end, going on with one that was begun, and say what it came to.

    Raises:
        NightshiftError: it cannot be run.
    """
    root = places.workspace(job)
    if places.memory is None:
        if not root.exists():
            _make_workspace(root, _files(places.study), places.study)
        return _run(job, root, quick=False)
    with tempfile.TemporaryDirectory(dir=places.memory) as folder:
        made = Path(folder) / job.name
        init_workspace(made, _files(places.study))
        outcome = _run(job, made, quick=True)
        Workspace(made).store_path.unlink()  # 7 MB; all that is asked of it was published, and can restore it
        shutil.rmtree(root, ignore_errors=True)  # of a move that was killed
        root.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, root)
    return outcome


def _run(job: Job, root: Path, *, quick: bool) -> Outcome:
    options = RunOptions(trials=job.trials, proposer=job.proposer, seed=job.seed, tag=f"pair-{job.name}")
    started = time.monotonic()
    with open_campaign(root, options_with(options, job.overrides), Observer()) as services:
        services.publishes_at_end = quick
        if services.campaign.stop_reason is None or services.resumed:
            Runner(services).run()
        return outcome_of(services, job.pair, job.arm, time.monotonic() - started)


def _make_workspace(root: Path, files: Mapping[str, str], beside: Path) -> None:
    """Make it elsewhere and move it: a repository cannot be begun inside of another one."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / root.name
        init_workspace(made, files)
        root.parent.mkdir(parents=True, exist_ok=True)
        half = root.with_name(f".{root.name}")
        shutil.rmtree(half, ignore_errors=True)
        shutil.move(made, half)
        half.rename(root)


def _files(study: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((study / FILES).iterdir())}
