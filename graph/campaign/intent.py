"""Which campaign a run is about: the unfinished one, or a new one with a branch of its own."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import version
from itertools import count
from typing import Any
from uuid import uuid4

from agents.base import Proposer
from agents.registry import choose_default
from graph.campaign.circumstances import Circumstances
from graph.campaign.options import RunOptions, limits_of
from graph.campaign.overrides import task_with
from graph.campaign.result import INTERRUPTED
from graph.watching.events import Observer
from graph.workspace import Workspace
from memory.git.ratchet import Ratchet
from memory.git.setup import check_tag
from memory.records import Campaign, CampaignState, Phase, utc_now
from memory.store import Store
from rails.errors import UserError
from rails.task import LimitsConfig, Task, load_task, task_of

_LIBRARIES = ("torch", "langgraph", "langchain-openai", "guardrails-ai", "duckdb", "pydantic", "gitpython", "optuna")


_TASK_DIFFERS = (
    "task.toml is not what it was when this campaign began, which goes on with its task as it was; "
    "--fresh starts another with the new one"
)


def find_unfinished(store: Store, options: RunOptions) -> Campaign | None:
    """The campaign to go on with, if the latest one is unfinished and the options agree with it.

    Raises:
        UserError: the options ask for something the unfinished campaign is not.
    """
    campaign = store.latest_campaign()
    if campaign is None or not _goes_on(store, campaign):
        return None
    asked = {"tag": options.tag, "proposer": options.proposer, "seed": options.seed, "lineage": options.lineage}
    for name, value in asked.items():
        if value is not None and value != getattr(campaign, name):
            raise UserError(
                f"the unfinished campaign {campaign.tag!r} has {name} {getattr(campaign, name)!r}, not {value!r}",
                fix=f"leave --{name} out to go on with it, or add --fresh to start another",
            )
    return campaign


def _goes_on(store: Store, campaign: Campaign) -> bool:
    """Whether there is more to do: it was killed, a signal ended it, or its proposer left a trial without an answer."""
    if campaign.stop_reason is None or campaign.stop_reason == INTERRUPTED:
        return True
    return any(trial.phase is not Phase.DECIDED for trial in store.trials(campaign.campaign_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a run is about, before anything is changed: the unfinished campaign, or what a new one will be."""

    unfinished: Campaign | None
    task: Task
    limits: LimitsConfig
    seed: int
    proposer: str
    fallback: str | None


def intend(
    store: Store, workspace: Workspace, options: RunOptions, observer: Observer, proposer: Proposer | None
) -> Intent:
    """What the options ask for, given what the store holds. A campaign that goes on keeps its task as it was.

    Args:
        store: of the workspace.
        workspace: with the task of a new campaign.
        options: what the person asked for.
        observer: told which proposer is the default and why, and that task.toml was edited since.
        proposer: used instead of the one that `options` names.

    Raises:
        UserError: the options contradict the unfinished campaign, or task.toml or models.toml is not as it must be.
    """
    campaign = None if options.fresh else find_unfinished(store, options)
    if campaign is None:
        task = task_with(load_task(workspace.task_path), options.overrides)
        limits, fallback, seed = task.limits, task.proposer.fallback, options.seed or 0
    else:
        task, limits = task_of(campaign.task), LimitsConfig.model_validate(campaign.limits)
        fallback, seed = campaign.fallback, campaign.seed
        if _differs(workspace, task, campaign.overrides or {}):
            observer.note(_TASK_DIFFERS)
    name = proposer.name if proposer else _proposer_name(workspace, options, campaign, observer)
    fallback = (fallback if options.fallback is None else options.fallback) or None
    if fallback == name:
        raise UserError(f"the fallback {name!r} is the proposer itself", fix='name another, or "" for none')
    return Intent(
        unfinished=campaign,
        task=task,
        limits=limits_of(limits, options),
        seed=seed,
        proposer=name,
        fallback=fallback,
    )


def _differs(workspace: Workspace, task: Task, overrides: Mapping[str, Any]) -> bool:
    """Whether task.toml says something else than the task of the campaign that goes on; unreadable, it does."""
    try:
        return task_with(load_task(workspace.task_path), overrides) != task
    except UserError:
        return True


def _proposer_name(workspace: Workspace, options: RunOptions, unfinished: Campaign | None, observer: Observer) -> str:
    """The proposer's name: as asked, as the campaign has it, or the default with a sentence that says so."""
    if options.proposer is not None:
        return options.proposer
    if unfinished is not None:
        return unfinished.proposer
    name, sentence = choose_default(workspace.root)
    if sentence:
        observer.note(sentence)
    return name


def start_campaign(
    store: Store, ratchet: Ratchet, options: RunOptions, intent: Intent, found: Circumstances
) -> Campaign:
    """Store the campaign's row, then make its branch: a loop that is killed in between makes it when it goes on.

    Raises:
        UserError: the branch exists, or cannot be made.
    """
    tag = options.tag or free_tag(ratchet)
    check_tag(tag)
    if ratchet.has_branch(tag):
        raise UserError(f"the branch autoresearch/{tag} exists already", fix="choose another name with --tag")
    head = ratchet.check_workspace()
    campaign = Campaign(
        campaign_id=f"{tag}-{uuid4().hex[:8]}",
        tag=tag,
        branch=f"autoresearch/{tag}",
        proposer=intent.proposer,
        fallback=intent.fallback,
        lineage=options.lineage is not False,
        seed=intent.seed,
        keep_rule=intent.task.keep.rule,
        task=intent.task.model_dump(mode="json", by_alias=True),
        limits=intent.limits.model_dump(),
        corpus_sha256=found.pinned_sha256,
        hardware=asdict(found.hardware),
        hardware_fingerprint=found.hardware.fingerprint,
        isolation=found.isolation,
        overrides=dict(options.overrides) or None,
        versions={"python": platform.python_version(), **_versions()},
        baseline_commit=head,
        head_commit=head,
        created_at=_after_all(store),
    )
    store.add_campaign(campaign)
    try:
        ratchet.start(tag)
    except UserError as error:
        store.update_campaign(
            campaign.campaign_id, state=CampaignState.ENDED, stop_reason=f"its branch could not be made: {error.what}"
        )
        raise
    return campaign


@cache
def _versions() -> dict[str, str]:
    """Of the libraries; reading their metadata takes a tenth of a second."""
    return {name: version(name) for name in _LIBRARIES}


def _after_all(store: Store) -> datetime:
    """Now, but after every campaign there is, whatever the clock says: the latest one is the one that goes on."""
    latest, now = store.latest_campaign(), utc_now()
    return now if latest is None else max(now, latest.created_at + timedelta(microseconds=1))


def free_tag(ratchet: Ratchet) -> str:
    """Today's date as a tag, with a number when the day has campaigns already."""
    today = utc_now().strftime("%b%d").lower()
    tags = (today if n == 1 else f"{today}-{n}" for n in count(1))
    return next(tag for tag in tags if not ratchet.has_branch(tag))
