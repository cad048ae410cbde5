"""propose: ask the proposer, and store its raw reply before anything is done with it."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agents.base import Feedback, NoReplyError, NoReplyKind, ProposalContext, Proposer, Reply, local_call
from agents.texts import storable
from graph.asking.calls import AttemptCalls, stored_reply
from graph.asking.outages import ask_until_answered
from graph.limits.meters import EnergyPart
from graph.nodes.check_rails import rail_context
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.lineage.block import lineage_sha256
from memory.records import CallRole, EventKind, LineageBlock, Origin, Phase, Trial, utc_now
from rails.errors import TrialError
from rails.source.edits import read_knobs
from rails.status import Status


def propose(services: Services, state: TrialState) -> Update:
    """Have a raw reply for this attempt in the store, asking the proposer only for what is not there yet.

    Raises:
        TrialError: interrupted: the loop was asked to stop, or a deadline passed while waiting for an endpoint.
        NoReplyError: nobody can answer, and waiting does not help; what was asked is stored.
    """
    trial = services.trial(state["trial_id"])
    attempt = state["attempt"]
    if not _is_answered(trial, attempt):
        _ask(services, trial, attempt, state)
    services.observer.proposed(services.trial(trial.trial_id), attempt)
    return {"route": Route.PROPOSED}


def _is_answered(trial: Trial, attempt: int) -> bool:
    """Whether the attempt's proposal is in the store; calls alone may be no more than the tools of a conversation."""
    return trial.phase is not Phase.OPENED and trial.attempt >= attempt


def _ask(services: Services, trial: Trial, attempt: int, state: TrialState) -> None:
    """Ask, and store in one transaction what was shown, who answered, and that it was answered.

    A model's calls are stored before that, one by one, as they come in. What a statistical proposer answers goes to the
    disk with the next commit: killed before, it answers the same again.
    """
    context = build_context(services, trial, attempt, state)
    calls = AttemptCalls(services.store, trial.trial_id, attempt, stored=services.spending.tell)

    def ask(proposer: Proposer) -> Reply:
        transcript = calls.transcript(proposer.name)
        return proposer.propose(replace(context, transcript=transcript, stopping=lambda: services.stop.requested))

    earlier, hand = calls.answers(), services.hands[trial.trial_id]
    started = time.monotonic()
    try:
        with hand.energy.part(EnergyPart.PROPOSE):
            if state["stand_in"] and services.stand_in is not None:
                proposer, reply = services.stand_in, ask(services.stand_in)
            else:
                answered = earlier[-1].proposer if earlier else None
                proposer, reply = _asked(services, trial, ask, answered)
    finally:
        waited_s = time.monotonic() - started - calls.writing_s
        hand.waited(Node.PROPOSE, "proposer", waited_s)
    for note in reply.notes:
        services.tell(EventKind.ENDPOINT_ODD, note, trial.seq)
    shown = reply.lineage or context.lineage
    progress: dict[str, object] = {
        "phase": Phase.PROPOSED,
        "attempt": attempt,
        "repairs": state["repairs"],
        "specialist": reply.specialist,
        "critique": reply.critique,
        "origin": reply.origin if proposer is services.proposer else Origin.FALLBACK,
    }
    with services.store.transaction(flush=not reply.repeatable):
        _store_reply(calls, proposer.name, reply)
        if shown is not None:
            progress["lineage_sha256"] = _store_block(services, shown)
        services.store.update_trial(trial.trial_id, proposer=proposer.name, **progress)
    if services.stop.requested:
        raise TrialError(Status.INTERRUPTED, "the loop was asked to stop when the proposal had come")


def _asked(
    services: Services, trial: Trial, ask: Callable[[Proposer], Reply], last_answered: str | None
) -> tuple[Proposer, Reply]:
    """Who answers, and what. A model that has no new move left is stood in for: a search may move two knobs at once."""
    try:
        return ask_until_answered(services, trial.seq, ask, last_answered)
    except NoReplyError as error:
        if error.kind is not NoReplyKind.USED_UP or services.stand_in is None:
            raise
        return services.stand_in, ask(services.stand_in)


def _store_reply(calls: AttemptCalls, proposer: str, reply: Reply) -> None:
    """What the transcript does not have: the answer of a proposer that asks nobody, or what a model's steps came to."""
    for call in reply.calls:
        calls.write(proposer, call)
    steps = [call for call in calls.answers() if call.role is CallRole.PROPOSE]
    if not steps or steps[-1].raw_reply != storable(reply.raw):
        calls.write(proposer, local_call(reply.raw, 0.0))


def build_context(services: Services, trial: Trial, attempt: int, state: TrialState) -> ProposalContext:
    """Everything the proposer may know. Lineage on and off differ in `lineage` alone."""
    task, campaign = services.task, services.campaign
    parent = services.trial(trial.parent_trial_id) if trial.parent_trial_id else None
    source = services.ratchet.source(trial.parent_commit or campaign.head_commit)
    return ProposalContext(
        task=task,
        program_md=_read_program(services),
        source=source,
        knobs=read_knobs(source, task.edit.class_name),
        menu=task.menu,
        lineage=services.lineage.render() if campaign.lineage else None,
        lineage_for=partial(_lineage_for, services) if campaign.lineage else None,
        check=partial(_would_refuse, services, trial),
        progress=partial(services.observer.planning, trial),
        trials=tuple(services.store.trials(campaign.campaign_id)),
        feedback=_feedback(services, trial, attempt),
        crash=_crash(services, trial, state),
        trial_seq=trial.seq,
        attempt=attempt,
        seed=campaign.seed,
        incumbent_metric=parent.metric if parent else None,
    )


def _lineage_for(services: Services, specialist: str | None, knobs: tuple[str, ...], max_tokens: int) -> str:
    """The block as a specialist sees it, in at most so many tokens."""
    config = services.task.lineage.model_copy(update={"max_tokens": max_tokens})
    return services.lineage.render(specialist, knobs, config=config)


def _would_refuse(services: Services, trial: Trial, raw: str) -> str | None:
    """Why the rails would refuse a draft, or None."""
    return services.rails.check(raw, rail_context(services, trial)).reason


def _read_program(services: Services) -> str:
    path = services.workspace.program_path
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _store_block(services: Services, text: str) -> str:
    """Store a block by its hash, and return that."""
    sha256 = lineage_sha256(text)
    block = LineageBlock(sha256=sha256, campaign_id=services.campaign_id, text=text, created_at=utc_now())
    services.store.add_lineage_block(block)
    return sha256


def _feedback(services: Services, trial: Trial, attempt: int) -> tuple[Feedback, ...]:
    """What the rails said of the earlier attempts of this trial."""
    blocked = [v for v in services.store.verdicts(trial.trial_id) if not v.ok and v.attempt < attempt]
    return tuple(
        Feedback(raw_reply=stored_reply(services, trial, v.attempt) or "", rail=v.rail, reason=v.reason or "")
        for v in blocked
    )


def _crash(services: Services, trial: Trial, state: TrialState) -> str | None:
    """The traceback to repair, when this attempt is a repair."""
    measurement_id = state["measurement_id"]
    if not state["repairs"] or not measurement_id:
        return None
    failed = next((m for m in services.store.measurements(trial.trial_id) if m.measurement_id == measurement_id), None)
    return None if failed is None else f"{failed.reason}\n{failed.log_tail or ''}".strip()
