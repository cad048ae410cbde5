"""propose: ask the proposer, and store its raw reply before anything is done with it."""

from agents.base import CallInfo, Feedback, NoReplyError, ProposalContext
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.lineage import lineage_sha256, render_lineage
from memory.records import Call, LineageBlock, Phase, Trial, utc_now
from rails.edits import read_knobs


def propose(services: Services, state: TrialState) -> Update:
    """Have a raw reply for this attempt in the store, asking the proposer only if it is not there yet.

    Raises:
        NoReplyError: the proposer could not answer; what it was asked is stored.
    """
    trial = services.trial(state["trial_id"])
    attempt = state["attempt"]
    if stored_reply(services, trial, attempt) is None:
        _ask(services, trial, attempt, state)
    services.observer.proposed(services.trial(trial.trial_id), attempt)
    return {"route": Route.PROPOSED}


def stored_reply(services: Services, trial: Trial, attempt: int) -> str | None:
    """The last raw reply of one attempt, or None if there is none yet."""
    calls = [c for c in services.store.calls(trial.trial_id) if c.attempt == attempt]
    return calls[-1].raw_reply if calls else None


def _ask(services: Services, trial: Trial, attempt: int, state: TrialState) -> None:
    """Ask, and store in one transaction what was shown, what was answered, and that it was."""
    context = build_context(services, trial, attempt, state)
    try:
        reply = services.proposer.propose(context)
    except NoReplyError as error:
        _store_calls(services, trial, attempt, error.calls)
        raise
    progress: dict[str, object] = {"phase": Phase.PROPOSED, "attempt": attempt, "repairs": state["repairs"]}
    with services.store.transaction():
        _store_calls(services, trial, attempt, reply.calls)
        if context.lineage is not None:
            progress["lineage_sha256"] = _store_block(services, context.lineage)
        services.store.update_trial(trial.trial_id, **progress)


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
        lineage=render_lineage(services.store, campaign.campaign_id) if campaign.lineage else None,
        trials=tuple(services.store.trials(campaign.campaign_id)),
        feedback=_feedback(services, trial, attempt),
        crash=_crash(services, trial, state),
        trial_seq=trial.seq,
        attempt=attempt,
        seed=campaign.seed,
        incumbent_metric=parent.metric if parent else None,
    )


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


def _store_calls(services: Services, trial: Trial, attempt: int, infos: tuple[CallInfo, ...]) -> None:
    now = utc_now()
    calls = [
        Call(
            call_id=f"{trial.trial_id}-a{attempt}-{position}",
            trial_id=trial.trial_id,
            attempt=attempt,
            position=position,
            proposer=services.proposer.name,
            model=info.model,
            prompt=info.prompt,
            raw_reply=info.raw_reply,
            error=info.error,
            prompt_tokens=info.prompt_tokens,
            completion_tokens=info.completion_tokens,
            latency_s=info.latency_s,
            usd=info.usd,
            created_at=now,
        )
        for position, info in enumerate(infos)
    ]
    services.store.add_calls(calls)
    waited = sum(info.latency_s for info in infos)
    services.waited(trial.trial_id, Node.PROPOSE, "proposer", waited)
