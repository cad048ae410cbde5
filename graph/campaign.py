"""Open a campaign: take the workspace, check everything that can be checked before the night, start or go on."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from agents.base import Proposer
from agents.registry import make_proposer
from graph.beginning import NewCampaign, choose_proposer, find_unfinished, start_campaign
from graph.create import create_workspace
from graph.events import Observer
from graph.going_on import note_isolation, roll_forward
from graph.options import RunOptions, limits_of
from graph.preflight import check_disk, check_isolation, check_program, describe_hardware, prepare_data
from graph.services import Services
from graph.stopping import StopRequest
from graph.workspace import Workspace
from memory.decide import make_rule
from memory.lock import workspace_lock
from memory.near_misses import NearMiss, near_misses
from memory.ratchet import Ratchet
from memory.reader import QueryResult, Reader
from memory.store import Store
from rails.guard import Rails
from rails.task import LimitsConfig, Task, load_task
from tools.trainer_tool import TrainerTool
from tools.trajectory import Trajectory
from trainer.budget import Pace
from trainer.sandbox import clear_leftovers


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
    workspace = ready_workspace(root, observer)
    with workspace_lock(workspace.lock_path), opened(workspace, options, observer, proposer) as services:
        yield services


def ready_workspace(root: Path, observer: Observer) -> Workspace:
    """The workspace at `root`, made if there is none.

    Raises:
        UserError: it cannot be made there.
    """
    workspace = Workspace(root.expanduser().resolve())
    if not workspace.exists:
        create_workspace(workspace.root)
        observer.note(f"made a workspace in {workspace.root}")
    workspace.state_dir.mkdir(exist_ok=True)
    return workspace


@contextmanager
def opened(
    workspace: Workspace,
    options: RunOptions,
    observer: Observer,
    proposer: Proposer | None = None,
    stop: StopRequest | None = None,
) -> Generator[Services]:
    """As `open_campaign`, for whoever holds the workspace's lock."""
    task = load_task(workspace.task_path)
    isolation = check_isolation(options)
    check_disk(workspace.root)
    with Store.open(workspace.store_path) as store:
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
        new = NewCampaign(options, name, seed, task, data, hardware, isolation)
        campaign = unfinished or start_campaign(store, ratchet, new)
        if unfinished is not None:
            note_isolation(store, campaign, isolation, observer)
            roll_forward(store, ratchet, workspace, campaign)
        clear_leftovers(workspace.scratch_dir)
        pace = partial(baseline_pace, store, campaign.campaign_id)
        limits = LimitsConfig.model_validate(unfinished.limits) if unfinished else task.limits
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
                limits=limits_of(limits, options),
                stop=stop or StopRequest(),
            )


def baseline_pace(store: Store, campaign_id: str) -> Pace | None:
    """How long the baseline took to start and to give its first answer; None until it was measured."""
    baseline = store.trial_by_seq(campaign_id, 0)
    measured = store.measurements(baseline.trial_id) if baseline is not None else []
    startup_s = [m.startup_s for m in measured if m.startup_s is not None]
    answer_s = [m.answer_s for m in measured if m.answer_s is not None]
    return Pace(startup_s=max(startup_s), answer_s=max(answer_s)) if startup_s and answer_s else None


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
