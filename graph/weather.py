"""Endpoint trouble is weather, not failure: wait and ask again, ask somebody else meanwhile, and go back in the end.

A proposer tries every request once. Here it is decided who is asked next, and when. Waits grow by decorrelated jitter
(M. Brooker, "Exponential Backoff And Jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): each one is drawn between the first and
three times the one before, so that many loops behind one endpoint do not come back at the same moment, and none ever
waits less than the first. A server's Retry-After comes on top.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.background import AbandonedError, in_background
from agents.base import NoReplyError, NoReplyKind, Proposer, Reply
from graph.pausing import LOOK_EVERY_S, duration, wait_while_paused
from memory.records import CampaignState, EventKind
from rails.errors import TrialError
from rails.status import Status

if TYPE_CHECKING:
    from graph.services import Services  # holds a Weather

MIN_TRIES = 2
"""One request that fails slowly is no lost endpoint."""

TRYING_SHARE = 0.1
"""Most of the time, by far, goes into waiting: an endpoint that lets every request hang is asked less often."""


@dataclass(slots=True, kw_only=True)
class Outage:
    """A time in which the campaign's own proposer does not answer. Moments are by the monotonic clock."""

    since: float
    """When the first request that failed was sent."""
    next_try: float
    wait_s: float
    """The last wait of our own."""
    failures: int = 0
    lasting: int = 0
    """Failures in a row that need somebody to change something."""
    reason: str = ""
    lost: bool = False
    """Whether it was given up for the moment, and put on record."""
    fallback_told: bool = False
    waiting: bool = False
    """Whether the campaign's state says that it waits."""


class Weather:
    """Who is asked, and when. One for a campaign as long as the process lives.

    Args:
        first_s: shortest wait before the next try.
        ceiling_s: longest wait of our own.
        patience_s: how long to try before the endpoint counts as lost.
        asked_ceiling_s: longest wait that an endpoint may ask for.
        lasting_tries: with nobody to fall back to, tries before a failure that does not pass ends the campaign.
        rng: draws the waits.
    """

    def __init__(
        self,
        *,
        first_s: float = 1.0,
        ceiling_s: float = 300.0,
        patience_s: float = 60.0,
        asked_ceiling_s: float = 900.0,
        lasting_tries: int = 3,
        rng: random.Random | None = None,
    ) -> None:
        self._first_s, self._ceiling_s, self._patience_s = first_s, ceiling_s, patience_s
        self._asked_ceiling_s, self._lasting_tries = asked_ceiling_s, lasting_tries
        self._rng = rng or random.Random()
        self._outage: Outage | None = None

    def ask(
        self, services: "Services", trial_seq: int, ask: Callable[[Proposer], Reply], last_answered: str | None
    ) -> tuple[Proposer, Reply]:
        """Have an answer from the campaign's proposer, or else from the fallback, however long it takes.

        Args:
            services: proposer, fallback, deadline, the request to stop, and where events go.
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
            reply = self._ask_fallback(turn, fallback)
            if reply is not None:
                return fallback, reply
        while True:
            _stop_if_asked(services)
            if (reply := self._ask_own(turn)) is not None:
                return services.proposer, reply
            _stop_if_asked(services)
            if fallback is not None and self._outage is not None and self._outage.lost:
                if (reply := self._ask_fallback(turn, fallback)) is not None:
                    return fallback, reply
                _stop_if_asked(services)
            self._wait(services)

    def _ask_own(self, turn: "_Turn") -> Reply | None:
        """The campaign's proposer's answer; None when it gave none, or it is too early to try."""
        services, outage = turn.services, self._outage
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
                self._failed(turn, error, started)
            return None
        self._answered(turn)
        return reply

    def _ask_fallback(self, turn: "_Turn", fallback: Proposer) -> Reply | None:
        """The fallback's answer; None when it gives none either: then the loop waits for whoever comes back first."""
        services, outage = turn.services, self._outage
        try:
            reply = turn.ask(fallback)
        except NoReplyError as error:
            if outage is not None:
                outage.reason = (
                    f"{outage.reason}; and the fallback {fallback.name} does not answer either: {error.what}"
                )
            return None
        if outage is not None:
            if not outage.fallback_told:
                outage.fallback_told = True
                text = f"{fallback.name} proposes as long as {services.proposer.name} does not answer"
                services.tell(EventKind.FALLBACK, text, turn.trial_seq)
            _run_again(services, outage)
        return reply

    def _failed(self, turn: "_Turn", error: NoReplyError, started: float) -> None:
        """Note a failure: when to try next, and whether the endpoint is lost.

        Raises:
            NoReplyError: it does not pass, nobody else can be asked, and it was tried often enough.
        """
        services, now = turn.services, time.monotonic()
        if self._outage is None:
            self._outage = Outage(since=started, next_try=now, wait_s=self._first_s)
        outage = self._outage
        lasting = error.kind is NoReplyKind.LASTING
        outage.failures += 1
        outage.lasting = outage.lasting + 1 if lasting else 0
        outage.reason = error.what
        if lasting and services.fallback is None and outage.lasting >= self._lasting_tries:
            raise error
        outage.wait_s = self._ceiling_s if lasting else self.next_wait_s(outage.wait_s)
        asked_s = min(error.retry_after_s or 0.0, self._asked_ceiling_s)
        hung_s = min((now - started) / TRYING_SHARE, self._ceiling_s) if outage.lost else 0.0
        outage.next_try = now + max(outage.wait_s, asked_s, hung_s)
        out_of_patience = outage.next_try - outage.since > self._patience_s and outage.failures >= MIN_TRIES
        if not outage.lost and (lasting or out_of_patience or asked_s > self._patience_s):
            outage.lost = True
            text = f"{services.proposer.name} does not answer: {error.what}"
            services.tell(EventKind.ENDPOINT_LOST, text, turn.trial_seq)

    def next_wait_s(self, before_s: float) -> float:
        """A wait of our own, given the one before (at first: the shortest one), in seconds."""
        return min(self._ceiling_s, self._rng.uniform(self._first_s, max(self._first_s, 3 * before_s)))

    def _answered(self, turn: "_Turn") -> None:
        """The endpoint answers: if it was lost, say so and for how long."""
        services, outage = turn.services, self._outage
        self._outage = None
        if outage is None or not outage.lost:
            return
        away = duration(time.monotonic() - outage.since)
        text = f"{services.proposer.name} answers again after {away} and {outage.failures} failed tries"
        services.tell(EventKind.ENDPOINT_BACK, text, turn.trial_seq)
        _run_again(services, outage)

    def _wait(self, services: "Services") -> None:
        """Wait for the next try, or a request to stop, or the deadline.

        Raises:
            TrialError: the deadline has passed.
        """
        outage, now = self._outage, time.monotonic()
        if outage is None:
            return
        if services.deadline is not None and now >= services.deadline:
            what = f"the limit of hours was reached while waiting for {services.proposer.name}"
            raise TrialError(Status.INTERRUPTED, what)
        if outage.lost and not outage.waiting:
            outage.waiting = True
            why = f"{services.proposer.name} does not answer: {outage.reason}"
            services.set_state(CampaignState.WAITING, why)
        until = outage.next_try if services.deadline is None else min(outage.next_try, services.deadline)
        while (left_s := until - time.monotonic()) > 0 and not services.stop.wait(min(left_s, LOOK_EVERY_S)):
            wait_while_paused(services)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One proposal that is to be had."""

    services: "Services"
    trial_seq: int
    ask: Callable[[Proposer], Reply]


def _stop_if_asked(services: "Services") -> None:
    if services.stop.requested:
        raise TrialError(Status.INTERRUPTED, "the loop was asked to stop while a proposal was asked for")


def _run_again(services: "Services", outage: Outage) -> None:
    """Put on record that the loop waits no longer."""
    if outage.waiting:
        outage.waiting = False
        services.set_state(CampaignState.RUNNING)
