"""Probes of a trained model: was its score that of one causal function of a row's past, fixed when training ended?

What the scored process answered at secret places is compared with what it answers again, and with what a fresh copy of
the trained model (its replica) answers:

- `replay`: the scored process is asked its first batch once more, after everything else. It differs for a model that
  learns while it is scored, and for one that draws its answers at random.
- `suffix`: the replica is asked about rows that are real up to a cut and foreign after it, in random company and
  batches of another size. It differs for a model that looks ahead.
- `order`: the replica is asked about real rows in other company and order. It differs for a model that uses the other
  rows of a batch, remembers what it was asked before, or is more than its saved state.

The scored process may know which rows are real, so it is never shown a cut; the replica never saw the scored text, so
it can answer like a model that looked ahead only if it did not. `suffix` goes before `order`: a replica that remembers
real rows could repeat them. With K cuts, a model that looks ahead at a share f of all places is missed with
probability (1 - f)^K at most: 0.27 for f = 1 % at 128 cuts, 4e-18 at 4,000.

An effect is the divergence KL(scored || again) of the two distributions at one place, in nats. Equal bits cannot be
asked for: a GPU adds up in another order in another batch. A divergence below the tolerance can still be worth much
when it always leans to the real next token (it grows with the square of the lean), so the mean lean is judged as well.

Shapes: R rows, T positions, K places, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rails.errors import TrialError
from rails.status import Status
from trainer.data.shards import EvalSet
from trainer.scoring.cuts import Places, draw_cuts, draw_places, foreign_suffixes, rounds, secret_rng

QUICK_CUTS = 128
"""Cuts of an ordinary measurement."""
DEEP_CUTS = 4000
"""Cuts before a candidate may be kept, as far as the text has so many places."""
REPLAY_PLACES = 256
ORDER_ROWS = 32

FLOOR_NATS = 1e-3
"""No effect below this is held against a model: nothing worth having fits under it."""
CAP_NATS = 0.02
"""Every effect above this is, whatever the baseline showed."""
BASELINE_FACTOR = 10.0
"""How many times the baseline's largest effect is tolerated: it is the rounding of this device."""
SURE = 5.0
"""Standard errors by which the mean lean to the real next token must exceed `FLOOR_NATS` to be held against a model."""

_PIECE_BYTES = 16 * 2**20

Logits = NDArray[np.float32]
Floats = NDArray[np.float64]


class Model(Protocol):
    """A trained model that can be asked."""

    def ask(self, tokens: NDArray[np.int32]) -> Logits:
        """Logits [r, T, V] for rows of tokens [r, T], private to the caller."""
        ...


@dataclass(frozen=True, slots=True)
class Effects:
    """What changed at each of K places: the divergence, and how much cheaper the real next token was when scored."""

    nats: Floats
    lean_nats: Floats

    @property
    def largest_nats(self) -> float:
        """The largest divergence; 0 without places."""
        return float(self.nats.max(initial=0.0))

    def over(self, tolerance_nats: float) -> int:
        """At how many places the divergence is above the tolerance."""
        return int((self.nats > tolerance_nats).sum())

    def mean_lean(self) -> tuple[float, float]:
        """The mean lean and its standard error; both 0 without places, infinite where a token became impossible."""
        if len(self.lean_nats) < 2:
            return 0.0, math.inf
        if not np.isfinite(self.lean_nats).all():
            return math.inf, math.inf
        return float(self.lean_nats.mean()), float(self.lean_nats.std(ddof=1) / math.sqrt(len(self.lean_nats)))


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """Of the last axis, in float64."""
    x = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        x -= x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def compare(
    scored: Logits, again: Logits, targets: NDArray[np.integer], foreign: NDArray[np.integer] | None = None
) -> Effects:
    """How far two answers lie apart at each place.

    Args:
        scored: float32 [K, V], from the process that was scored.
        again: float32 [K, V].
        targets: [K], the real next token.
        foreign: [K], the token that was put in its place; left out of both answers before the lean is taken, so that
            having believed in it does not count.

    Returns:
        Effects; infinite where an answer is no distribution, or rules out what the other thinks possible.
    """
    nats, lean = np.zeros(len(scored)), np.zeros(len(scored))
    size = max(1, _PIECE_BYTES // (8 * scored.shape[-1]))
    for start in range(0, len(scored), size):
        part = slice(start, start + size)
        p, q = log_softmax(scored[part]), log_softmax(again[part])
        weight, k = np.exp(p), np.arange(len(p))
        with np.errstate(invalid="ignore"):
            terms = np.where(weight > 0, weight * (p - q), 0.0)  # a token held impossible weighs nothing
            terms[np.isnan(weight)] = np.inf
            nats[part] = np.maximum(np.nan_to_num(terms.sum(axis=-1), nan=np.inf, posinf=np.inf), 0.0)
            if foreign is not None:
                p[k, foreign[part]] = q[k, foreign[part]] = -np.inf
                p, q = log_softmax(p), log_softmax(q)
            lean[part] = (p - q)[k, targets[part]]
    return Effects(nats, lean)


class Witness:
    """What the scored process answered at secret places, kept while it is scored.

    Memory: 4·(K + 256)·V bytes with K ≤ `DEEP_CUTS`: 35 MB at V = 2,048, 139 MB at 8,192, 856 MB at 50,257. Everything
    else is worked through in pieces of `_PIECE_BYTES` and of one batch of logits.

    Args:
        eval_set: the text that will be scored.
        batch_rows: rows of a batch while it is.
        vocab_size: V.
    """

    def __init__(self, eval_set: EvalSet, batch_rows: int, vocab_size: int) -> None:
        self.eval_set, self.batch_rows, self.rng = eval_set, min(batch_rows, len(eval_set.rows)), secret_rng()
        self.cuts = draw_cuts(eval_set, DEEP_CUTS, self.rng)
        self.first = draw_places(self.batch_rows, eval_set.rows.shape[1] - 1, REPLAY_PLACES, self.rng)
        self.cut_logits = np.empty((len(self.cuts), vocab_size), np.float32)
        self.first_logits = np.empty((len(self.first), vocab_size), np.float32)

    def keep(self, first_row: int, logits: Logits) -> None:
        """Copy what was answered about rows `first_row`… at the secret places; logits are [r, T, V]."""
        self._copy(self.cuts, self.cut_logits, first_row, logits)
        if first_row == 0:
            self._copy(self.first, self.first_logits, first_row, logits)

    def targets(self, places: Places) -> NDArray[np.int32]:
        """The real next tokens, [K]."""
        return self.eval_set.rows[places.rows, places.positions + 1]

    @staticmethod
    def _copy(places: Places, into: Logits, first_row: int, logits: Logits) -> None:
        here = (places.rows >= first_row) & (places.rows < first_row + len(logits))
        into[here] = logits[places.rows[here] - first_row, places.positions[here]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What the probes of one trained model found. Effects are the largest of their kind, in nats."""

    cuts: int
    """Cuts asked about."""
    cuts_drawn: int
    """Cuts that could have been asked about: `DEEP_CUTS`, or every place of a short text."""
    cuts_over: int
    """How many changed the answer by more than the tolerance."""
    suffix_nats: float
    order_places: int
    order_over: int
    order_nats: float
    replay_places: int
    replay_over: int
    replay_nats: float
    lean_nats: float
    """How much cheaper the real next token was when scored than after a cut, on average over the cuts asked about."""
    lean_error_nats: float
    """Standard error of `lean_nats`."""
    lean_bpb: float
    """`lean_nats` in bits per byte of the scored text: what a score would owe to it."""
    tolerance_nats: float
    probe_s: float

    def to_json(self) -> dict[str, Any]:
        """Ready for the store. None stands for an effect without bound: an answer that was no distribution."""
        return {name: None if value in {math.inf, -math.inf} else value for name, value in asdict(self).items()}

    def complaint(self) -> str | None:
        """Why the model is disqualified, in a sentence; None when it passed.

        The most telling probe speaks: a model that changes while it is scored changes in other company too, and one
        that answers differently in other company does so after a cut.
        """
        allowed = f"by up to {{}} nats ({self.tolerance_nats:.3g} allowed)"
        if self.replay_over:
            size = allowed.format(_amount(self.replay_nats))
            where = f"{self.replay_over} of {self.replay_places} places"
            kind = "it learns while it is scored or answers at random"
            return f"{kind}: its first batch, asked again, changed at {where}, {size}"
        if self.order_over:
            size, where = allowed.format(_amount(self.order_nats)), f"{self.order_over} of {self.order_places} places"
            return (
                f"its answers depend on more than the row: in other company and order they changed at {where}, {size}; "
                "it uses other rows, remembers what it was asked, or keeps part of the model outside its saved state"
            )
        worth = f", worth about {_amount(self.lean_bpb)} bits per byte"
        if self.cuts_over:
            size, where = allowed.format(_amount(self.suffix_nats)), f"{self.cuts_over} of {self.cuts} cuts"
            return f"it looks ahead: at {where} its answer changed with the text that follows, {size}{worth}"
        if self.lean_nats - SURE * self.lean_error_nats > FLOOR_NATS:
            lean = f"{_amount(self.lean_nats)} nats a token"
            return f"it looks ahead a little everywhere: its answers leaned to the real next token by {lean}{worth}"
        return None


class ProbeError(TrialError):
    """A model that failed its probes: disqualified, with the report.

    Args:
        what: the probe and the size of the effect.
        report: all that was found.
    """

    def __init__(self, what: str, report: ProbeReport) -> None:
        super().__init__(Status.DISQUALIFIED, what)
        self.report = report


def calibrated_tolerance(baseline: Iterable[Mapping[str, Any]]) -> float:
    """The tolerance in nats after the baseline's stored reports: its largest effect, with room, between floor and cap.

    Without a report, as for the baseline itself, the cap.
    """
    effects = [report[kind] for report in baseline for kind in ("suffix_nats", "order_nats", "replay_nats")]
    if not effects or None in effects:
        return CAP_NATS
    return min(CAP_NATS, max(FLOOR_NATS, BASELINE_FACTOR * max(effects)))


class Probing:
    """The probes of one scored model.

    Args:
        witness: what it answered while it was scored.
        cuts: how many cuts to ask about.
        tolerance_nats: see `calibrated_tolerance`.
        limit_s: how long the probes may take, by the parent's clock.
    """

    def __init__(self, witness: Witness, *, cuts: int, tolerance_nats: float, limit_s: float) -> None:
        self._witness, self._count, self._tolerance = witness, min(cuts, len(witness.cuts)), tolerance_nats
        self._started, self._limit_s = time.monotonic(), limit_s
        # Another size than while it was scored, and one size only: some models are compiled anew for each.
        self._rows = max(1, witness.batch_rows - 1)

    def run(
        self, scored: Model, close: Callable[[], None], open_replica: Callable[[], AbstractContextManager[Model]]
    ) -> ProbeReport:
        """Ask all there is to ask.

        Args:
            scored: the process that was scored.
            close: ends it; called before the replica is opened, so that the two can never meet.
            open_replica: a fresh process that has loaded the same trained model.

        Raises:
            ProbeError: the model failed.
            TrialError: a process crashed, or took too long (`eval_budget_overrun`).
        """
        replay = self._replay(scored)
        close()
        with open_replica() as replica:
            suffix = self._suffix(replica)
            order = self._order(replica)
        report = self._report(suffix, order, replay)
        if complaint := report.complaint():
            raise ProbeError(complaint, report)
        return report

    def _ask(self, model: Model, tokens: NDArray[np.int32]) -> Logits:
        logits = model.ask(tokens)
        if time.monotonic() - self._started > self._limit_s:
            raise TrialError(Status.EVAL_BUDGET_OVERRUN, f"killed: not probed within {self._limit_s:g} s")
        return logits

    def _replay(self, scored: Model) -> Effects:
        witness, first = self._witness, self._witness.first
        logits = self._ask(scored, witness.eval_set.rows[: witness.batch_rows, :-1])
        return compare(witness.first_logits, logits[first.rows, first.positions], witness.targets(first))

    def _suffix(self, replica: Model) -> Effects:
        """Ask about the cuts, in rounds; once enough were asked and one has shown, the rest would change nothing."""
        witness, found, asked, over = self._witness, list[Effects](), 0, 0
        for chosen in rounds(witness.cuts.take(slice(self._count)), witness.rng):
            for start in range(0, len(chosen), self._rows):
                part = chosen[start : start + self._rows]
                cuts = witness.cuts.take(part)
                suffixed = foreign_suffixes(witness.eval_set, cuts, witness.rng)
                logits = self._ask(replica, suffixed)
                again = logits[np.arange(len(cuts)), cuts.positions]
                foreign = suffixed[np.arange(len(cuts)), cuts.positions + 1]
                found.append(compare(witness.cut_logits[part], again, witness.targets(cuts), foreign))
                asked, over = asked + len(part), over + found[-1].over(self._tolerance)
                if asked >= QUICK_CUTS and over:
                    return _joined(found)
        return _joined(found)

    def _order(self, replica: Model) -> Effects:
        witness, found = self._witness, list[Effects]()
        rows = witness.rng.permutation(np.unique(witness.cuts.rows))[:ORDER_ROWS]
        for start in range(0, len(rows), self._rows):
            asked = rows[start : start + self._rows]
            logits = self._ask(replica, witness.eval_set.rows[asked, :-1])
            for row, row_TV in zip(asked, logits, strict=True):
                kept = witness.cuts.rows == row
                cuts = witness.cuts.take(kept)
                again = row_TV[cuts.positions]
                found.append(compare(witness.cut_logits[kept], again, witness.targets(cuts)))
        return _joined(found)

    def _report(self, suffix: Effects, order: Effects, replay: Effects) -> ProbeReport:
        witness, tolerance = self._witness, self._tolerance
        lean, error = suffix.mean_lean()
        eval_set = witness.eval_set
        tokens = int((eval_set.token_bytes[eval_set.rows[:, 1:]] > 0).sum())
        return ProbeReport(
            cuts=len(suffix.nats),
            cuts_drawn=len(witness.cuts),
            cuts_over=suffix.over(tolerance),
            suffix_nats=suffix.largest_nats,
            order_places=len(order.nats),
            order_over=order.over(tolerance),
            order_nats=order.largest_nats,
            replay_places=len(replay.nats),
            replay_over=replay.over(tolerance),
            replay_nats=replay.largest_nats,
            lean_nats=lean,
            lean_error_nats=error,
            lean_bpb=lean * tokens / (math.log(2) * eval_set.total_bytes),
            tolerance_nats=tolerance,
            probe_s=time.monotonic() - self._started,
        )


def _joined(parts: list[Effects]) -> Effects:
    empty = np.zeros(0)
    return Effects(
        np.concatenate([empty, *(part.nats for part in parts)]),
        np.concatenate([empty, *(part.lean_nats for part in parts)]),
    )


def _amount(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "infinitely many"
