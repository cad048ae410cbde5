"""check_rails: judge the raw reply, store every verdict, and pass, correct or block."""

from graph.nodes.propose import stored_reply
from graph.services import Services
from graph.state import Route, TrialState, Update
from memory.ratchet import commit_message
from memory.records import Phase, Trial, Verdict
from rails.guard import CheckResult, RailContext


def check_rails(services: Services, state: TrialState) -> Update:
    """Let the rails judge the reply of this attempt against the trial's parent."""
    trial = services.trial(state["trial_id"])
    attempt = state["attempt"]
    result = services.rails.check(stored_reply(services, trial, attempt) or "", rail_context(services, trial))
    verdicts = [
        Verdict(trial_id=trial.trial_id, attempt=attempt, position=position, rail=v.rail, ok=v.ok, reason=v.reason)
        for position, v in enumerate(result.verdicts)
    ]
    with services.store.transaction():
        services.store.add_verdicts(verdicts)
        if result.ok:
            trial = _store_proposal(services, trial, result)
    services.observer.railed(trial, result.rail, result.reason)
    if result.ok:
        return {"route": Route.PASSED, "target_trial_id": trial.trial_id, "seed_index": 0}
    if state["corrections"] < services.task.rails.corrections:
        return {"route": Route.CORRECT, "attempt": attempt + 1, "corrections": state["corrections"] + 1}
    return {"route": Route.BLOCKED}


def rail_context(services: Services, trial: Trial) -> RailContext:
    """What the rails compare the reply with: the parent's source and every program tried so far."""
    task = services.task
    tried = services.store.tried_programs(services.campaign_id)
    if trial.program_key is not None:
        tried.pop(trial.program_key, None)  # its own row, when a repair or a resumed trial is judged again
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
    )


def _store_proposal(services: Services, trial: Trial, result: CheckResult) -> Trial:
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
        hypothesis=proposal.hypothesis,
        expected_delta=proposal.expected_delta,
        rationale=proposal.reason,
        edit=proposal.edit.model_dump(),
        edit_key=result.edit_key,
        program_key=result.program_key,
        diff=result.diff,
        candidate_commit=candidate,
    )
