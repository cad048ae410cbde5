"""What a campaign has spent at this moment, for whoever watches: dollars of every call that is stored, and energy.

A trial's own row says what it cost only when it is decided; the calls of the trial in hand are paid for before that.
"""

import time
from collections.abc import Iterable

from graph.limits.meters import Meters
from graph.watching.events import Observer
from memory.records import Phase, Trial
from memory.store import Store

BEAT_S = 1.0
"""While something is trained, energy is read no more often than this."""


class Spending:
    """Tells an observer what has been spent so far whenever that has grown.

    Args:
        store: with the campaign.
        campaign_id: the campaign.
        meters: count its energy.
        observer: is told.
    """

    def __init__(self, store: Store, campaign_id: str, meters: Meters, observer: Observer) -> None:
        self._store, self._meters, self._observer = store, meters, observer
        decided = (t for t in store.trials(campaign_id) if t.phase is Phase.DECIDED)
        self._decided_usd = _sum(trial.usd for trial in decided)
        self._in_hand = set[str]()
        """Trials whose calls are not in any decided row yet."""
        self._told_s = 0.0

    def begin(self, trial: Trial) -> None:
        """A trial is in hand; it may have calls already that another loop made."""
        self._in_hand.add(trial.trial_id)
        self.tell()

    def end(self, trial: Trial) -> None:
        """That trial is decided, with what it cost."""
        self._decided_usd = _sum((self._decided_usd, trial.usd))
        self._in_hand.discard(trial.trial_id)
        self.tell()

    def beat(self) -> None:
        """Time goes on."""
        if time.monotonic() - self._told_s >= BEAT_S:
            self.tell()

    def tell(self) -> None:
        """Something was paid for, or may have been."""
        self._told_s = time.monotonic()
        calls = (call for trial_id in self._in_hand for call in self._store.calls(trial_id))
        usd = _sum((self._decided_usd, *(call.usd for call in calls)))
        self._observer.spent(usd, self._meters.joules)


def _sum(amounts: Iterable[float | None]) -> float | None:
    """Of what is known; None where nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
