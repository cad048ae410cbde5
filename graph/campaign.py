"""Open a campaign: take the workspace, check everything that can be checked before the night, start or go on."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from agents.base import Proposer
from agents.registry import make_proposer, require_prices
from graph.beginning import Circumstances, Intent, intend, start_campaign
from graph.create import create_workspace
from graph.events import Observer
from graph.going_on import Terms, note_isolation, roll_forward
from graph.meters import metered
from graph.options import RunOptions
from graph.preflight import check_disk, check_isolation, check_program, describe_hardware, prepare_data
from graph.rebaseline import prepare_machine
from graph.services import Services
from graph.stopping import StopRequest
from graph.workspace import Workspace
from memory.decide import make_rule
from memory.lock import workspace_lock
from memory.near_misses import NearMiss, near_misses
from memory.ratchet import Ratchet
from memory.reader import QueryResult, Reader
from memory.snapshot import publish
from memory.store import Store
from rails.guard import Rails
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
        UserError: it cannot be made there, or the disk has too little room for a night.
    """
    workspace = Workspace(root.expanduser().resolve())
    if not workspace.exists:
        create_workspace(workspace.root)
        observer.note(f"made a workspace in {workspace.root}")
    workspace.state_dir.mkdir(exist_ok=True)
    check_disk(workspace.root)
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
    isolation = check_isolation(options)
    with Store.open(workspace.store_path) as store:
        if store.campaigns():
            publish(store, workspace.snapshot_dir)  # a loop that was killed after its last commit could not
        intent = intend(store, workspace, options, observer, proposer)
        task, unfinished = intent.task, intent.unfinished
        ratchet = Ratchet(workspace.root, task.edit.file)
        if unfinished is None:
            ratchet.check_workspace()
            check_program(workspace, task)
        asked, fallback = _proposers(intent, workspace, store, proposer)
        hardware = describe_hardware(task)
        found = Circumstances(prepare_data(workspace, task, observer), hardware, isolation)
        with metered(hardware.device, intent.limits) as meter:
            if unfinished is None:
                campaign = start_campaign(store, ratchet, options, intent, found)
            else:
                campaign = unfinished
                prepare_machine(store, campaign, hardware, found.data, observer)
                note_isolation(store, campaign, isolation, observer)
                roll_forward(store, ratchet, workspace, campaign, Terms(intent.limits, intent.fallback))
            clear_leftovers(workspace.scratch_dir)
            pace = partial(baseline_pace, store, campaign.campaign_id)
            tool = TrainerTool(task, found.data, hardware, workspace.scratch_dir, isolation, pace)
            with closing(tool) as trainer:
                yield Services(
                    campaign_id=campaign.campaign_id,
                    workspace=workspace,
                    task=task,
                    store=store,
                    ratchet=ratchet,
                    rails=Rails(task.menu),
                    rule=make_rule(task.keep),
                    proposer=asked,
                    fallback=fallback,
                    trainer=trainer,
                    observer=observer,
                    limits=intent.limits,
                    meter=meter,
                    stop=stop or StopRequest(),
                    resumed=unfinished is not None,
                )


def _proposers(
    intent: Intent, workspace: Workspace, store: Store, given: Proposer | None
) -> tuple[Proposer, Proposer | None]:
    """The campaign's proposer and its fallback, able to answer now: a campaign that goes on waits for them instead.

    Raises:
        UserError: a name that nothing is known by, or calls without a price under a limit of dollars.
        NoReplyError: nobody listens at an endpoint.
    """
    trajectory = trajectory_over(store, workspace)

    def make(name: str) -> Proposer:
        if intent.limits.usd:
            require_prices(name, workspace.root)
        proposer = make_proposer(name, workspace=workspace.root, seed=intent.seed, trajectory=trajectory)
        if intent.unfinished is None:
            proposer.check_ready()
        return proposer

    return given or make(intent.proposer), make(intent.fallback) if intent.fallback else None


def baseline_pace(store: Store, campaign_id: str) -> Pace | None:
    """How long the baseline took to start and to give its first answer on this machine; None until it was measured."""
    baseline, machine = store.trial_by_seq(campaign_id, 0), store.campaign(campaign_id).hardware_fingerprint
    stored = store.measurements(baseline.trial_id) if baseline is not None else []
    measured = [m for m in stored if m.machine == machine]
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
