"""Asks for a proposal while endpoints come and go: who is asked, when next, and who stands in meanwhile.

A proposer tries every request once. Here it is decided who is asked next, and when (`graph/limits/patience.py`): the
campaign's own proposer again, or the fallback until it answers. An outage is waited for; it fails no trial.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from agents.base import NoReplyError, NoReplyKind, Proposer, Reply
from agents.model.background import AbandonedError, in_background
from graph.limits.patience import Outage
from graph.limits.pause import LOOK_EVERY_S, duration
from graph.services import Services
from memory.records import CampaignState, EventKind
from rails.errors import TrialError
from rails.status import Status


def ask_until_answered(
    services: Services, trial_seq: int, ask: Callable[[Proposer], Reply], last_answered: str | None
) -> tuple[Proposer, Reply]:
    """Have an answer from the campaign's proposer, or else from the fallback, however long it takes.

    Args:
        services: proposer, fallback, patience, deadline, the request to stop, and where events go.
        trial_seq: the trial that is asked for.
        ask: asks a proposer once; taking up what it answered before is its business.
        last_answered: the name of the proposer that gave this attempt's last answer: the fallback's conversation
            goes on with the fallback.

    Raises:
        TrialError: interrupted: the loop was asked to stop, or the deadline passed while waiting.
        NoReplyError: nobody can answer, and waiting does not help. Never of kind `passing`.
    """
    turn = _Turn(services, trial_seq, ask)
    fallback = services.fallback
    if fallback is not None and last_answered == fallback.name != services.proposer.name:
        reply = _ask_fallback(turn, fallback)
        if reply is not None:
            return fallback, reply
    while True:
        _stop_if_asked(services)
        if (reply := _ask_own(turn)) is not None:
            return services.proposer, reply
        _stop_if_asked(services)
        if fallback is not None and services.outage is not None and services.outage.lost:
            if (reply := _ask_fallback(turn, fallback)) is not None:
                return fallback, reply
            _stop_if_asked(services)
        _wait(services)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One proposal that is to be had."""

    services: Services
    trial_seq: int
    ask: Callable[[Proposer], Reply]


def _ask_own(turn: _Turn) -> Reply | None:
    """The campaign's proposer's answer; None when it gave none, or it is too early to try."""
    services, outage = turn.services, turn.services.outage
    if outage is not None and time.monotonic() < outage.next_try:
        return None
    started = time.monotonic()
    try:
        if outage is not None and outage.lost:
            # Cheap, and enough to know that a server is down.
            in_background(services.proposer.check_ready, lambda: services.stop.requested, 0.0)
        reply = turn.ask(services.proposer)
    except AbandonedError:
        return None
    except NoReplyError as error:
        if error.kind is NoReplyKind.USED_UP:
            raise
        if not services.stop.requested:
            _failed(turn, error, started)
        return None
    _answered(turn)
    return reply


def _ask_fallback(turn: _Turn, fallback: Proposer) -> Reply | None:
    """The fallback's answer; None when it gives none either: then the loop waits for whoever comes back first."""
    services, outage = turn.services, turn.services.outage
    try:
        reply = turn.ask(fallback)
    except NoReplyError as error:
        if outage is not None:
            outage.reason = f"{outage.reason}; and the fallback {fallback.name} does not answer either: {error.what}"
        return None
    if outage is not None:
        if not outage.fallback_told:
            outage.fallback_told = True
            text = f"{fallback.name} proposes as long as {services.proposer.name} does not answer"
            services.tell(EventKind.FALLBACK, text, turn.trial_seq)
        _run_again(services, outage)
    return reply


def _failed(turn: _Turn, error: NoReplyError, started: float) -> None:
    """Note a failure: when to try next, and whether the endpoint is lost.

    Raises:
        NoReplyError: it does not pass, nobody else can be asked, and it was tried often enough.
    """
    services, now = turn.services, time.monotonic()
    patience, outage = services.patience, services.outage
    if outage is None:
        outage = services.outage = Outage(since=started, next_try=now, wait_s=patience.first_s)
    lasting = error.kind is NoReplyKind.LASTING
    outage.failures += 1
    outage.lasting = outage.lasting + 1 if lasting else 0
    outage.reason = error.what
    if lasting and services.fallback is None and outage.lasting >= patience.lasting_tries:
        raise error
    lost = patience.set_next_try(outage, started, now, lasting=lasting, asked_s=error.retry_after_s)
    if lost and not outage.lost:
        outage.lost = True
        text = f"{services.proposer.name} does not answer: {error.what}"
        services.tell(EventKind.ENDPOINT_LOST, text, turn.trial_seq)


def _answered(turn: _Turn) -> None:
    """The endpoint answers: if it was lost, say so and for how long."""
    services, outage = turn.services, turn.services.outage
    services.outage = None
    if outage is None or not outage.lost:
        return
    away = duration(time.monotonic() - outage.since)
    text = f"{services.proposer.name} answers again after {away} and {outage.failures} failed tries"
    services.tell(EventKind.ENDPOINT_BACK, text, turn.trial_seq)
    _run_again(services, outage)


def _wait(services: Services) -> None:
    """Wait for the next try, or a request to stop, or the deadline.

    Raises:
        TrialError: the deadline has passed.
    """
    outage, now = services.outage, time.monotonic()
    if outage is None:
        return
    if services.deadline is not None and now >= services.deadline:
        what = f"the limit of hours was reached while waiting for {services.proposer.name}"
        raise TrialError(Status.INTERRUPTED, what)
    if outage.lost and not outage.waiting:
        outage.waiting = True
        services.set_state(CampaignState.WAITING, f"{services.proposer.name} does not answer: {outage.reason}")
    until = outage.next_try if services.deadline is None else min(outage.next_try, services.deadline)
    while (left_s := until - time.monotonic()) > 0 and not services.stop.wait(min(left_s, LOOK_EVERY_S)):
        services.wait_while_paused()


def _stop_if_asked(services: Services) -> None:
    if services.stop.requested:
        raise TrialError(Status.INTERRUPTED, "the loop was asked to stop while a proposal was asked for")


def _run_again(services: Services, outage: Outage) -> None:
    """Put on record that the loop waits no longer."""
    if outage.waiting:
        outage.waiting = False
        services.set_state(CampaignState.RUNNING)
