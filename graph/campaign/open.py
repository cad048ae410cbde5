"""Open a campaign: take the workspace, check everything that can be checked before the night, start or go on."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.base import Proposer
from agents.model.forms import FORMS, ReplyForm
from agents.registry import STATISTICAL, Surroundings, make_curator, make_proposer, require_prices
from graph.campaign.circumstances import circumstances_of
from graph.campaign.create import create_workspace
from graph.campaign.intent import Intent, intend, start_campaign
from graph.campaign.new_machine import prepare_machine
from graph.campaign.options import RunOptions
from graph.campaign.preflight import check_disk, check_program
from graph.campaign.resume import Terms, note_isolation, roll_forward
from graph.limits.stopping import StopRequest
from graph.services import Services
from graph.watching.events import Observer
from graph.watching.tracing import traced
from graph.workspace import Workspace
from memory.git.ratchet import Ratchet
from memory.importers.workspace import imported_record
from memory.keep.near_misses import NearMiss, near_misses
from memory.keep.rules import make_rule
from memory.lineage.digest import digest_of
from memory.lineage.rows import NEAR_READ, prospects_of
from memory.lock import workspace_lock
from memory.publish import publish
from memory.query_apart import query_apart
from memory.reader import QueryResult
from memory.records import CallRole, Campaign
from memory.rescue.refusal import open_store
from memory.store import Store
from rails.errors import UserError
from rails.guard import Rails
from rails.task import Task
from tools.trajectory import Ideas, Trajectory
from trainer.budget import Pace

if TYPE_CHECKING:
    from agents.lesson_writer import Curator  # loads langchain, which only a model needs


RECENT = 20
"""Trials in which is looked for how a model was last asked."""

MODEL_ROWS, MODEL_QUERY_S = 10_000, 20.0
"""What a query of a model may bring into the loop, and for how long: an endless one must not end the night."""


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
        UserError: it cannot be made there, it is an imported record, or the disk has too little room for a night.
    """
    workspace = Workspace(root.expanduser().resolve())
    imported = imported_record(workspace.root)
    if imported is not None:
        what = f"this is the record of another loop, imported from {imported.source}: there is no program to run"
        fix = "ask it (status, query, analyze, report), or make a workspace of your own with `nightshift init DIR`"
        raise UserError(what, where=str(workspace.root), fix=fix)
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
    with open_store(workspace.store_path, workspace.root) as store:
        if store.campaigns():
            publish(store, workspace.snapshot_dir)  # a loop that was killed after its last commit could not
        intent = intend(store, workspace, options, observer, proposer)
        task, unfinished = intent.task, intent.unfinished
        ratchet = Ratchet(workspace.root, task.edit.file)
        if unfinished is None:
            ratchet.check_workspace()
            check_program(workspace, task)
        asked, fallback = _proposers(intent, workspace, store, proposer)
        curator = _curator(intent, workspace)
        found = circumstances_of(workspace, task, options, observer)
        with found.meter(intent.limits) as meter, traced(observer) as tracing:
            if unfinished is None:
                campaign = start_campaign(store, ratchet, options, intent, found)
            else:
                campaign = unfinished
                prepare_machine(store, campaign, found.hardware, found.pinned_sha256, observer)
                note_isolation(store, campaign, found.isolation, observer)
                roll_forward(store, ratchet, workspace, campaign, Terms(intent.limits, intent.fallback))
            pace = partial(baseline_pace, store, campaign.campaign_id)
            with closing(found.make_backend(pace)) as trainer:
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
                    stand_in=_stand_in(task, asked),
                    curator=curator,
                    trainer=trainer,
                    observer=observer,
                    limits=intent.limits,
                    meter=meter,
                    tracing=tracing,
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
    around = Surroundings(
        trajectory=trajectory_over(store, workspace),
        critic=intent.task.planner.critic,
        form=_form_that_served(store, intent.unfinished),
    )

    def make(name: str) -> Proposer:
        if intent.limits.usd:
            require_prices(name, workspace.root)
        proposer = make_proposer(name, workspace=workspace.root, around=around)
        if intent.unfinished is None:
            proposer.check_ready()
        return proposer

    return given or make(intent.proposer), make(intent.fallback) if intent.fallback else None


def _stand_in(task: Task, proposer: Proposer) -> Proposer | None:
    """Who proposes where all of a model's corrections were refused; nobody for proposers that ask no model."""
    name = task.proposer.stand_in
    return STATISTICAL[name]() if name and proposer.repairs_crashes and "knob" in task.edit.modes else None


def _form_that_served(store: Store, campaign: Campaign | None) -> ReplyForm | None:
    """The form of reply that an unfinished campaign's model took last; None: it has not been asked."""
    trials = store.trials(campaign.campaign_id) if campaign is not None else []
    for trial in reversed(trials[-RECENT:]):
        for call in reversed(store.calls(trial.trial_id)):
            if call.reply_form in FORMS and call.raw_reply is not None and call.role is CallRole.PROPOSE:
                return call.reply_form
    return None


def _curator(intent: Intent, workspace: Workspace) -> "Curator | None":
    """The model that writes lessons, if the task names one.

    Raises:
        UserError: there is no such model, its key is not set, or it states no price under a limit of dollars.
    """
    name = intent.task.lineage.lessons
    if name and intent.limits.usd:
        require_prices(name, workspace.root)
    return make_curator(name, workspace=workspace.root)


def baseline_pace(store: Store, campaign_id: str) -> Pace | None:
    """How long the baseline took to start and to give its first answer on this machine; None until it was measured."""
    baseline, machine = store.trial_by_seq(campaign_id, 0), store.campaign(campaign_id).hardware_fingerprint
    stored = store.measurements(baseline.trial_id) if baseline is not None else []
    measured = [m for m in stored if m.machine == machine]
    startup_s = [m.startup_s for m in measured if m.startup_s is not None]
    answer_s = [m.answer_s for m in measured if m.answer_s is not None]
    if not startup_s or not answer_s:
        return None
    return Pace(
        startup_s=max(startup_s),
        answer_s=max(answer_s),
        startup_cpu_s=max(m.startup_cpu_s or 0.0 for m in measured),
        answer_cpu_s=max(m.answer_cpu_s or 0.0 for m in measured),
    )


def trajectory_over(store: Store, workspace: Workspace) -> Trajectory:
    """What a planner's tools may read of the running campaign: SQL sees the published snapshot, never the live file."""

    def nearest(limit: int) -> list[NearMiss]:
        campaign = store.latest_campaign()
        if campaign is None:
            return []
        return near_misses(store.trials(campaign.campaign_id), store.noise(campaign.campaign_id), limit)

    def query(sql: str) -> QueryResult:
        return query_apart(workspace.snapshot_dir, sql, limit=MODEL_ROWS, timeout_s=MODEL_QUERY_S)

    def ideas(limit: int) -> Ideas:
        campaign = store.latest_campaign()
        if campaign is None:
            return Ideas(combinations=(), opposites=())
        digest = digest_of(campaign, store.trials(campaign.campaign_id))
        near, _ = digest.near_misses(store.noise(campaign.campaign_id), NEAR_READ)
        prospects = prospects_of(campaign, digest)
        return Ideas(combinations=prospects.combinations(near, limit), opposites=prospects.opposites(limit))

    return Trajectory(near_misses=nearest, ideas=ideas, query=query)
