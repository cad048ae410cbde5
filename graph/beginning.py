"""Which campaign a run is about: the unfinished one, or a new one with a branch of its own."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from uuid import uuid4

from agents.registry import choose_default
from graph.events import Observer
from graph.options import RunOptions, limits_of
from graph.workspace import Workspace
from memory.ratchet import Ratchet
from memory.records import Campaign, utc_now
from memory.store import Store
from rails.errors import UserError
from rails.task import Task
from trainer.hardware import Hardware
from trainer.isolation import Isolation
from trainer.prepare import PreparedData

_LIBRARIES = ("torch", "langgraph", "langchain-openai", "guardrails-ai", "duckdb", "pydantic", "gitpython", "optuna")


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
    isolation: Isolation


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
        limits=limits_of(new.task.limits, new.options).model_dump(),
        corpus_sha256=new.data.corpus_sha256,
        hardware=asdict(new.hardware),
        hardware_fingerprint=new.hardware.fingerprint,
        isolation=new.isolation,
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
