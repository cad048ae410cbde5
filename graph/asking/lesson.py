"""The lesson of a decided trial: by the rule, or by a model where the task names one."""

import time
from typing import TYPE_CHECKING

from graph.asking.calls import AttemptCalls
from graph.state import Node
from memory.lineage.lessons import RULE, lesson_for
from memory.records import CallRole, Lesson, Trial, utc_now

if TYPE_CHECKING:
    from graph.services import Services


def draw_lesson(services: "Services", final: Trial, attempt: int) -> Lesson | None:
    """What is remembered of a trial; None when it teaches nothing.

    The model is asked once. Its answer is stored before it is used, so that a loop that was killed after it takes it
    from the store; a request that failed is not made again either.

    Args:
        services: with the store and the curator.
        final: the trial's row as it will be decided.
        attempt: the attempt at its proposal, where the request is put on record.
    """
    rule = lesson_for(final)
    if rule is None:
        return None
    written = _written(services, final, attempt, rule)
    source = RULE if written is None or services.curator is None else services.curator.name
    return Lesson(
        trial_id=final.trial_id,
        campaign_id=final.campaign_id,
        text=written or rule,
        source=source,
        created_at=utc_now(),
    )


def _written(services: "Services", final: Trial, attempt: int, rule: str) -> str | None:
    """The model's line, or None."""
    curator = services.curator
    if curator is None:
        return None
    calls = AttemptCalls(services.store, final.trial_id, attempt, frozenset({CallRole.LESSON}), services.spending.tell)
    if calls.failed:
        return None
    services.store.flush()  # a model takes its time: until then the score it is asked about would be in memory alone
    started = time.monotonic()
    try:
        return curator.write(final, rule, calls.transcript(curator.name), lambda: services.stop.requested)
    finally:
        waited_s = time.monotonic() - started - calls.writing_s
        services.hands[final.trial_id].waited(Node.CURATE, "lesson", waited_s)
