"""check_rails: judge the raw reply, store every verdict, and pass, correct or block."""

from dataclasses import replace

from graph.asking.calls import stored_reply
from graph.measuring.judging import first_seed
from graph.services import Services
from graph.state import Route, TrialState, Update
from memory.git.ratchet import commit_message
from memory.records import Phase, Trial, Verdict
from rails.guard import CheckResult, RailContext


def check_rails(services: Services, state: TrialState) -> Update:
    """Let the rails judge the reply of this attempt against the trial's parent.

    What was judged stays judged, also on a machine with another size of memory.
    """
    trial = services.trial(state["trial_id"])
    attempt, superseded = state["attempt"], trial.candidate_commit
    context = rail_context(services, trial)
    before = [v for v in services.store.verdicts(trial.trial_id) if v.attempt == attempt]
    if refused := next((v for v in before if not v.ok), None):
        return _refused(services, state, trial, refused.rail, refused.reason)
    if before:
        context = replace(context, size_limit_bytes=None)
    result = services.rails.check(stored_reply(services, trial, attempt) or "", context)
    verdicts = [
        Verdict(trial_id=trial.trial_id, attempt=attempt, position=position, rail=v.rail, ok=v.ok, reason=v.reason)
        for position, v in enumerate(result.verdicts)
    ]
    with services.store.transaction(flush=not result.ok):  # what passes is trained next, and stored before that
        services.store.add_verdicts(verdicts)
        if result.ok:
            trial = _store_proposal(services, state, trial, result)
        elif result.proposal is not None:  # a blocked trial keeps what it was about, if that could be read
            trial = services.store.update_trial(trial.trial_id, hypothesis=result.proposal.hypothesis, **_edit(result))
    if not result.ok:
        return _refused(services, state, trial, result.rail, result.reason)
    if superseded not in {None, trial.candidate_commit}:
        services.ratchet.discard(str(superseded))  # a repair: nothing asks for the program that crashed any more
    services.observer.railed(trial, None, None)
    return {"route": Route.PASSED, "target_trial_id": trial.trial_id, "seed_index": first_seed(services, trial)}


def _refused(services: Services, state: TrialState, trial: Trial, rail: str | None, reason: str | None) -> Update:
    """One more correction, or the stand-in's turn, or the trial's end.

    A reply that says the same as one that was refused ends the corrections: the next would say it again (measured).
    """
    services.observer.railed(trial, rail, reason)
    attempt = state["attempt"]
    if not state["stand_in"]:
        same = _repeats_itself(services, trial, attempt, state["corrections"])
        if state["corrections"] < services.task.rails.corrections and not same:
            return {"route": Route.CORRECT, "attempt": attempt + 1, "corrections": state["corrections"] + 1}
        if services.stand_in is not None and not state["repairs"]:
            return {"route": Route.CORRECT, "attempt": attempt + 1, "stand_in": True}
    return {"route": Route.BLOCKED}


def _repeats_itself(services: Services, trial: Trial, attempt: int, corrections: int) -> bool:
    """Whether this attempt's reply is that of an earlier correction."""
    said = stored_reply(services, trial, attempt)
    return any(stored_reply(services, trial, attempt - back) == said for back in range(1, corrections + 1))


def rail_context(services: Services, trial: Trial) -> RailContext:
    """What the rails compare the reply with: the parent's source and every program tried so far."""
    task = services.task
    tried = services.store.tried_programs(services.campaign_id)
    for key in (trial.program_key, trial.idea_key):
        tried.pop(key or "", None)  # its own row, when a repair or a resumed trial is judged again
    return RailContext(
        menu=task.menu,
        source=services.ratchet.source(trial.parent_commit or services.campaign.head_commit),
        file_name=task.edit.file,
        class_name=task.edit.class_name,
        modes=tuple(task.edit.modes),
        tried=tried,
        max_diff_lines=task.rails.max_diff_lines,
        size_limit_bytes=services.trainer.memory_limit_bytes,
        novelty=task.rails.novelty,
        outside=services.trainer.outside,
    )


def _store_proposal(services: Services, state: TrialState, trial: Trial, result: CheckResult) -> Trial:
    proposal = result.proposal
    if proposal is None or result.candidate_source is None:
        raise ValueError("the rails passed a reply without a proposal or a program")
    candidate = services.ratchet.commit_candidate(
        trial.parent_commit or services.campaign.head_commit,
        result.candidate_source,
        commit_message(f"trial {trial.seq}: {result.edit_key}", proposal.hypothesis, {}),
        trial.created_at,
    )
    return services.store.update_trial(
        trial.trial_id,
        phase=Phase.RAILED,
        repairs=state["repairs"],  # again those of this program, when a trial is gone through once more
        hypothesis=proposal.hypothesis,
        expected_delta=proposal.expected_delta,
        rationale=proposal.reason,
        **_edit(result),
        program_key=result.program_key,
        idea_key=result.idea_key,
        diff=result.diff,
        candidate_commit=candidate,
    )


def _edit(result: CheckResult) -> dict[str, object]:
    """The edit of a reply that could be read, as a trial keeps it."""
    if result.proposal is None:
        return {}
    return {"edit": result.proposal.edit.model_dump(), "edit_key": result.edit_key}
