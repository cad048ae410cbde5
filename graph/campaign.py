"""Open a campaign: take the workspace, check everything that can be checked before the night, start or go on."""

import platform
import shutil
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Literal
from uuid import uuid4

from agents.base import Proposer
from agents.registry import choose_default, make_proposer
from graph.create import create_workspace
from graph.events import Observer
from graph.services import Services
from graph.workspace import Workspace
from memory.decide import make_rule
from memory.lock import workspace_lock
from memory.near_misses import NearMiss, near_misses
from memory.ratchet import Ratchet
from memory.reader import QueryResult, Reader
from memory.records import Campaign, Phase, utc_now
from memory.results_tsv import render_results_tsv
from memory.snapshot import publish
from memory.store import Store
from rails.errors import UserError
from rails.guard import Rails
from rails.surface import check_surface
from rails.task import LimitsConfig, Task, load_task
from tools.trainer_tool import TrainerTool
from tools.trajectory import Trajectory
from trainer.budget import Pace
from trainer.data_cache import default_cache
from trainer.hardware import Hardware, describe
from trainer.isolation import Isolation, best_isolation, probe
from trainer.prepare import DataSpec, PreparedData, prepare
from trainer.prepare_progress import PrepareProgress
from trainer.sandbox import clear_leftovers

MIN_FREE_BYTES = 512 * 1024 * 1024
"""Below this a night would tear: the store, the snapshot and one trial's scratch must fit."""
_LIBRARIES = ("torch", "langgraph", "langchain-openai", "guardrails-ai", "duckdb", "pydantic", "gitpython", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the person asked for on the command line; None means: as the task or the campaign has it."""

    trials: int | None = None
    hours: float | None = None
    proposer: str | None = None
    lineage: bool | None = None
    seed: int | None = None
    tag: str | None = None
    fresh: bool = False
    require_isolation: Literal["L1", "L2", "L3", "L4"] | None = None


@contextmanager
def open_campaign(
    root: Path, options: RunOptions, observer: Observer, proposer: Proposer | None = None
) -> Generator[Services]:
    """Everything the runner needs, with the workspace locked and the store open for as long as the context lasts.

    Makes the workspace if there is none; goes on with an unfinished campaign unless `options.fresh`.

    Args:
        root: the workspace.
        options: what the person asked for.
        observer: told of everything that happens.
        proposer: used instead of the one that `options` names.

    Raises:
        UserError: something the person gave is not as it must be; nothing was changed.
        BusyError, HaltError: another loop owns the workspace; a person moved the branch away from the store's head.
    """
    workspace = Workspace(root.expanduser().resolve())
    if not workspace.exists:
        create_workspace(workspace.root)
        observer.note(f"made a workspace in {workspace.root}")
    task = load_task(workspace.task_path)
    isolation = check_isolation(options)
    check_disk(workspace.root)
    workspace.state_dir.mkdir(exist_ok=True)
    with workspace_lock(workspace.lock_path), Store.open(workspace.store_path) as store:
        ratchet = Ratchet(workspace.root, task.edit.file)
        unfinished = None if options.fresh else find_unfinished(store, options)
        if unfinished is None:
            ratchet.check_workspace()
            check_program(workspace, task)
        else:
            task = Task.model_validate(unfinished.task)
        seed = unfinished.seed if unfinished else (options.seed or 0)
        name = proposer.name if proposer else choose_proposer(workspace, options, unfinished, observer)
        proposer = proposer or make_proposer(
            name, workspace=workspace.root, seed=seed, trajectory=trajectory_over(store, workspace)
        )
        proposer.check_ready()
        hardware = describe_hardware(task)
        data = prepare_data(workspace, task, observer)
        campaign = unfinished or start_campaign(store, ratchet, NewCampaign(options, name, seed, task, data, hardware))
        if unfinished is not None:
            _resume(store, ratchet, workspace, campaign)
        clear_leftovers(workspace.scratch_dir)
        pace = partial(baseline_pace, store, campaign.campaign_id)
        with closing(TrainerTool(task, data, hardware, workspace.scratch_dir, isolation, pace)) as trainer:
            yield Services(
                campaign_id=campaign.campaign_id,
                workspace=workspace,
                task=task,
                store=store,
                ratchet=ratchet,
                rails=Rails(task.menu),
                rule=make_rule(task.keep),
                proposer=proposer,
                trainer=trainer,
                observer=observer,
                limits=limits_of(task, options),
            )


def baseline_pace(store: Store, campaign_id: str) -> Pace | None:
    """How long the baseline took to start and to give its first answer; None until it was measured."""
    baseline = store.trial_by_seq(campaign_id, 0)
    measured = store.measurements(baseline.trial_id) if baseline is not None else []
    startup_s = [m.startup_s for m in measured if m.startup_s is not None]
    answer_s = [m.answer_s for m in measured if m.answer_s is not None]
    return Pace(startup_s=max(startup_s), answer_s=max(answer_s)) if startup_s and answer_s else None


def describe_hardware(task: Task) -> Hardware:
    """The machine behind the task's device.

    Raises:
        UserError: there is no such device here.
    """
    try:
        return describe(task.trial.device)
    except ValueError as error:
        raise UserError(
            str(error), where="[trial] device", fix='use "auto", or a device that this machine has'
        ) from error


def prepare_data(workspace: Workspace, task: Task, observer: Observer) -> PreparedData:
    """The corpus of the task, tokenised; from the cache when it has been made before."""
    told: set[str] = set()

    def report(progress: PrepareProgress) -> None:
        if progress.stage not in told:
            told.add(progress.stage)
            observer.note(f"preparing data: {progress.stage}")

    corpus = task.data.corpus
    if corpus != "stdlib" and not corpus.startswith("parquet:"):
        corpus = str(workspace.root / corpus)  # a folder named in task.toml is meant as seen from there
    spec = DataSpec(corpus=corpus, vocab_size=task.data.vocab_size, shards=task.data.shards or 0)
    return prepare(spec, progress=report)


def limits_of(task: Task, options: RunOptions) -> LimitsConfig:
    """The task's limits with the command line's on top."""
    changes: dict[str, int | float] = {}
    if options.trials is not None:
        changes["trials"] = options.trials
    if options.hours is not None:
        changes["hours"] = options.hours
    return task.limits.model_copy(update=changes)


def find_unfinished(store: Store, options: RunOptions) -> Campaign | None:
    """The campaign to go on with, if the latest one is unfinished and the options agree with it.

    Raises:
        UserError: the options ask for something the unfinished campaign is not.
    """
    campaign = store.latest_campaign()
    if campaign is None or (campaign.stop_reason is not None and not was_interrupted(campaign)):
        return None
    asked = {"tag": options.tag, "proposer": options.proposer, "seed": options.seed, "lineage": options.lineage}
    for name, value in asked.items():
        if value is not None and value != getattr(campaign, name):
            raise UserError(
                f"the unfinished campaign {campaign.tag!r} has {name} {getattr(campaign, name)!r}, not {value!r}",
                fix=f"leave --{name} out to go on with it, or add --fresh to start another",
            )
    return campaign


def was_interrupted(campaign: Campaign) -> bool:
    """Whether a signal stopped it, so that `run` goes on with it."""
    return campaign.stop_reason is not None and campaign.stop_reason.startswith("interrupted")


def trajectory_over(store: Store, workspace: Workspace) -> Trajectory:
    """What a planner's tools may read of the running campaign: SQL sees the published snapshot, never the live file."""

    def nearest(limit: int) -> list[NearMiss]:
        campaign = store.latest_campaign()
        if campaign is None:
            return []
        return near_misses(store.trials(campaign.campaign_id), store.noise(campaign.campaign_id), limit)

    def query(sql: str) -> QueryResult:
        with Reader.open(workspace.snapshot_dir) as reader:
            return reader.query(sql)

    return Trajectory(near_misses=nearest, query=query)


def choose_proposer(workspace: Workspace, options: RunOptions, unfinished: Campaign | None, observer: Observer) -> str:
    """The proposer's name: as asked, as the campaign has it, or the default with a sentence that says so."""
    if options.proposer is not None:
        return options.proposer
    if unfinished is not None:
        return unfinished.proposer
    name, sentence = choose_default(workspace.root)
    if sentence:
        observer.note(sentence)
    return name


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """What a new campaign is made of."""

    options: RunOptions
    proposer: str
    seed: int
    task: Task
    data: PreparedData
    hardware: Hardware


def start_campaign(store: Store, ratchet: Ratchet, new: NewCampaign) -> Campaign:
    """Make the branch and the campaign's row.

    Raises:
        UserError: the branch exists.
    """
    tag = new.options.tag or free_tag(ratchet)
    head = ratchet.start(tag)
    campaign = Campaign(
        campaign_id=f"{tag}-{uuid4().hex[:8]}",
        tag=tag,
        branch=f"autoresearch/{tag}",
        proposer=new.proposer,
        lineage=new.options.lineage is not False,
        seed=new.seed,
        keep_rule=new.task.keep.rule,
        task=new.task.model_dump(mode="json", by_alias=True),
        limits=limits_of(new.task, new.options).model_dump(),
        corpus_sha256=new.data.corpus_sha256,
        hardware=asdict(new.hardware),
        hardware_fingerprint=new.hardware.fingerprint,
        isolation=best_isolation(),
        versions={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        baseline_commit=head,
        head_commit=head,
        created_at=utc_now(),
    )
    store.add_campaign(campaign)
    return campaign


def free_tag(ratchet: Ratchet) -> str:
    """Today's date as a tag, with a number when the day has campaigns already."""
    today = utc_now().strftime("%b%d").lower()
    tags = (today if n == 1 else f"{today}-{n}" for n in count(1))
    return next(tag for tag in tags if not ratchet.has_branch(tag))


def _resume(store: Store, ratchet: Ratchet, workspace: Workspace, campaign: Campaign) -> None:
    """Roll the branch and every projection forward to what the store says."""
    ratchet.resume(campaign.tag, campaign.head_commit)
    if campaign.stop_reason is not None:
        store.update_campaign(campaign.campaign_id, stop_reason=None, ended_at=None)
    trials = store.trials(campaign.campaign_id)
    open_candidates = [t.candidate_commit for t in trials if t.phase is not Phase.DECIDED and t.candidate_commit]
    ratchet.drop_candidates(keep=open_candidates)
    ratchet.project(campaign.head_commit, render_results_tsv(trials, store.peak_bytes(campaign.campaign_id)))
    publish(store, workspace.snapshot_dir)


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
    for folder in (root, default_cache()):
        place = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(place).free
        if free < MIN_FREE_BYTES:
            raise UserError(
                f"only {free / 2**20:.0f} MiB are free, {MIN_FREE_BYTES / 2**20:.0f} are needed",
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
