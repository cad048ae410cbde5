"""Campaigns whose model is behind a local server, with waits so short that a night of bad weather passes in seconds."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agents.base import ProposalContext
from agents.model.config import load_models
from agents.planner.planner import Planner
from agents.registry import make_proposer
from graph.asking.outages import ask_until_answered
from graph.campaign.options import RunOptions
from graph.limits.patience import Patience
from graph.services import Services
from memory.records import Call, Event, EventKind, Trial
from tests.support.chat_server import ChatServer, failing, ok
from tests.support.workspaces import standin_campaign

GOOD = [
    ok(json.dumps({"knob": knob, "new_value": value, "reason": "why not"}))
    for knob, value in [("rows", 16), ("smoothing", 2.0), ("decay", 0.9), ("bigram_weight", 0.6), ("buckets", 1024)]
]
DOWN = failing(503, "down for maintenance")
LOST, BACK, FALLBACK = EventKind.ENDPOINT_LOST, EventKind.ENDPOINT_BACK, EventKind.FALLBACK


def quick(*, patience_s: float = 0.1, ceiling_s: float = 0.08, asked_ceiling_s: float = 2.0) -> Patience:
    """Patience with which a night of bad weather passes in seconds."""
    return Patience(first_s=0.02, ceiling_s=ceiling_s, patience_s=patience_s, asked_ceiling_s=asked_ceiling_s)


@contextmanager
def night(
    root: Path, server: ChatServer, *, trials: int, fallback: str | None = None, timeout_s: float = 10.0
) -> Generator[Services]:
    """An open campaign with a model behind `server`; its waits are short."""
    (root / "models.toml").write_text(server.models_toml("local", timeout_s=timeout_s))
    planner = Planner("local", load_models(root)["local"], grace_s=0.5)
    with standin_campaign(root, proposer=planner, options=RunOptions(trials=trials)) as services:
        services.patience = quick()
        services.fallback = make_proposer(fallback, workspace=root) if fallback else None
        yield services


def searched(services: Services) -> list[Trial]:
    return [t for t in services.store.trials(services.campaign_id) if t.seq]


def calls_of(services: Services) -> list[Call]:
    return [call for trial in searched(services) for call in services.store.calls(trial.trial_id)]


def weather_events(services: Services) -> list[Event]:
    return [e for e in services.store.events(services.campaign_id) if e.kind in {LOST, BACK, FALLBACK}]


def ask_once(services: Services, last_answered: str | None = None) -> str:
    """Have one proposal outside of any trial; the name of who gave it."""
    context = context_of(services)
    proposer, reply = ask_until_answered(services, 1, lambda who: who.propose(context), last_answered)
    assert reply.raw
    return proposer.name


def context_of(services: Services) -> ProposalContext:
    task = services.task
    return ProposalContext(
        task=task,
        program_md="",
        source="",
        knobs=task.menu.defaults(),
        menu=task.menu,
        lineage=None,
        trials=(),
        trial_seq=1,
        attempt=0,
        seed=0,
        incumbent_metric=None,
        stopping=lambda: services.stop.requested,
    )
