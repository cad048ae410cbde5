"""How long an endpoint that does not answer is tried, and when next: plain numbers, which ask nobody.

Waits grow by decorrelated jitter (M. Brooker, "Exponential Backoff And Jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): each one is drawn between the first and
three times the one before, so that many loops behind one endpoint do not come back at the same moment, and none ever
waits less than the first. A server's Retry-After comes on top.
"""

import random
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a campaign bears an endpoint that does not answer."""

    first_s: float = 1.0
    """Shortest wait before the next try."""
    ceiling_s: float = 300.0
    """Longest wait of our own."""
    patience_s: float = 60.0
    """How long to try before the endpoint counts as lost."""
    asked_ceiling_s: float = 900.0
    """Longest wait that an endpoint may ask for."""
    lasting_tries: int = 3
    """With nobody to fall back to, tries before a failure that does not pass ends the campaign."""
    rng: random.Random = field(default_factory=random.Random)
    """Draws the waits."""

    def next_wait_s(self, before_s: float) -> float:
        """A wait of our own, given the one before (at first: the shortest one), in seconds."""
        return min(self.ceiling_s, self.rng.uniform(self.first_s, max(self.first_s, 3 * before_s)))

    def set_next_try(self, outage: Outage, started: float, now: float, *, lasting: bool, asked_s: float | None) -> bool:
        """Set when an outage's next try is, after one that failed; returns whether the endpoint counts as lost now.

        Args:
            outage: with this failure counted.
            started: when the request was sent.
            now: when it had failed.
            lasting: whether somebody has to change something before it can succeed.
            asked_s: how long the endpoint asked to be left alone; None when it did not say.
        """
        outage.wait_s = self.ceiling_s if lasting else self.next_wait_s(outage.wait_s)
        asked_s = min(asked_s or 0.0, self.asked_ceiling_s)
        hung_s = min((now - started) / TRYING_SHARE, self.ceiling_s) if outage.lost else 0.0
        outage.next_try = now + max(outage.wait_s, asked_s, hung_s)
        exhausted = outage.next_try - outage.since > self.patience_s and outage.failures >= MIN_TRIES
        return lasting or exhausted or asked_s > self.patience_s
