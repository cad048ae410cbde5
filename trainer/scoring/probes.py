"""Probes of a trained model: was its score that of one causal function of a row's past, fixed when training ended?

What the scored process answered at secret places is compared with what it answers again, and with what a fresh copy of
the trained model (its replica) answers:

- `replay`: the scored process is asked its first batch once more, after everything else. It differs for a model that
  learns while it is scored, and for one that draws its answers at random.
- `suffix`: the replica is asked about rows that are real up to a cut and foreign after it, in random company and
  batches of another size. It differs for a model that looks ahead.
- `order`: the replica is asked about real rows in other company and order. It differs for a model that uses the other
  rows of a batch, remembers what it was asked before, or is more than its saved state.

The scored process may know which rows are real, so it is never shown a cut of them; the replica never saw the scored
text, so it can answer like a model that looked ahead only if it did not. `suffix` goes before `order`: a replica that
remembers real rows could repeat them. With K cuts, a model that looks ahead at a share f of all places is missed with
probability (1 - f)^K at most: 0.53 for f = 1 % at 64 cuts, 4e-18 at 4,000.

All this holds as long as the replica does not know what the scored process was shown. Where it does, `blind` remains:
see `trainer.scoring.blind`.

An effect is the divergence KL(scored || again) of the two distributions at one place, in nats. Equal bits cannot be
asked for: a GPU adds up in another order in another batch. A divergence below the tolerance can still be worth much
when it always leans to the real next token (it grows with the square of the lean), so the mean lean is judged as well.

Shapes: R rows, T positions, K places, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rails.errors import TrialError
from rails.status import Status
from trainer.scoring.blind import Costs
from trainer.scoring.blindness import compare_blind
from trainer.scoring.cuts import foreign_suffixes, rounds
from trainer.scoring.effects import Effects, Logits, compare, joined
from trainer.scoring.report import ProbeError, ProbeReport
from trainer.scoring.witness import Witness

QUICK_CUTS = 64
"""Cuts of an ordinary measurement."""
NO_ANSWER_NATS = 1e6
"""What an answer costs that is no distribution."""


class Model(Protocol):
    """A trained model that can be asked."""

    def ask(self, tokens: NDArray[np.int32]) -> Logits:
        """Logits [r, T, V] for rows of tokens [r, T], private to the caller."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How closely to look at what a model answered about one text.

    Args:
        cuts: how many cuts to ask the replica about.
        whole_blind: ask about every blind place, not only the last one of each row.
        references: what other programs' answers cost on the same tokens.
    """

    cuts: int
    whole_blind: bool = False
    references: tuple[Costs, ...] = ()


@dataclass(frozen=True, slots=True)
class Sitting:
    """One text (`val` or `test`) that a model was scored on: what it answered, and how closely to look at that."""

    name: str
    witness: Witness
    depth: Depth

    @property
    def questions(self) -> int:
        """Rows to ask about."""
        blind = int(self.witness.text.chosen(self.depth.whole_blind).sum())
        return min(self.depth.cuts, len(self.witness.cuts)) + blind


class Probing:
    """The probes of one scored model.

    Args:
        sittings: the texts that it was scored on.
        tolerance_nats: see `calibrated_tolerance`.
        limit_s: how long the probes may take, by the parent's clock.
    """

    def __init__(self, sittings: Sequence[Sitting], *, tolerance_nats: float, limit_s: float) -> None:
        self._sittings, self._tolerance = sittings, tolerance_nats
        self._started, self._limit_s = time.monotonic(), limit_s
        # Another size than while it was scored, and one size only: some models are compiled anew for each.
        self._rows = max(1, sittings[0].witness.batch_rows - 1)

    def run(
        self, scored: Model, close: Callable[[], None], open_replica: Callable[[], AbstractContextManager[Model]]
    ) -> list[ProbeReport]:
        """Ask all there is to ask. Afterwards each witness knows what the blind places cost.

        Args:
            scored: the process that was scored.
            close: ends it; called before the replica is opened, so that the two can never meet.
            open_replica: a fresh process that has loaded the same trained model.

        Returns:
            One report for each sitting.

        Raises:
            ProbeError: the model failed.
            TrialError: a process crashed, or took too long (`eval_budget_overrun`).
        """
        for sitting in self._sittings:
            self._blind(scored, sitting)
        replays = [self._replay(scored, sitting.witness) for sitting in self._sittings]
        close()
        with open_replica() as replica:
            suffixes = [self._suffix(replica, sitting) for sitting in self._sittings]
            orders = [self._order(replica, sitting.witness) for sitting in self._sittings]
        reports = [self._report(*found) for found in zip(self._sittings, suffixes, orders, replays, strict=True)]
        for report in reports:
            if complaint := report.complaint():
                raise ProbeError(complaint, report)
        return reports

    def _ask(self, model: Model, tokens: NDArray[np.int32]) -> Logits:
        logits = model.ask(tokens)
        if time.monotonic() - self._started > self._limit_s:
            raise TrialError(Status.EVAL_BUDGET_OVERRUN, f"killed: not probed within {self._limit_s:g} s")
        return logits

    def _blind(self, scored: Model, sitting: Sitting) -> None:
        """Ask about the blind places, from left to right in every row, in batches of the size that it was scored in."""
        from trainer.scoring.evaluate import token_costs  # torch takes two seconds to load

        witness = sitting.witness
        text = witness.text
        asked = np.flatnonzero(text.chosen(sitting.depth.whole_blind))
        for chosen in rounds(text.cuts.take(asked), witness.rng):
            for start in range(0, len(chosen), witness.batch_rows):
                part = asked[chosen[start : start + witness.batch_rows]]
                cuts = text.cuts.take(part)
                logits = self._ask(scored, foreign_suffixes(text.blind, cuts, witness.rng, source=text.shown))
                targets = text.blind.rows[cuts.rows, cuts.positions + 1]
                costs = token_costs(np.ascontiguousarray(logits[np.arange(len(cuts)), cuts.positions]), targets)
                witness.costs.blind[part] = np.where(np.isfinite(costs), np.maximum(costs, 0.0), NO_ANSWER_NATS)

    def _replay(self, scored: Model, witness: Witness) -> Effects:
        first = witness.first
        logits = self._ask(scored, witness.eval_set.rows[: witness.batch_rows, :-1])
        return compare(witness.first_logits, logits[first.rows, first.positions], witness.targets(first))

    def _suffix(self, replica: Model, sitting: Sitting) -> Effects:
        """Ask about the cuts, in rounds; once enough were asked and one has shown, the rest would change nothing."""
        witness, found, asked, over = sitting.witness, list[Effects](), 0, 0
        count = min(sitting.depth.cuts, len(witness.cuts))
        for chosen in rounds(witness.cuts.take(slice(count)), witness.rng):
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
                    return joined(found)
        return joined(found)

    def _order(self, replica: Model, witness: Witness) -> Effects:
        """Ask about whole rows again: what was kept of each, and its last position."""
        found = list[Effects]()
        rows = witness.ends.rows
        for start in range(0, len(rows), self._rows):
            asked = rows[start : start + self._rows]
            logits = self._ask(replica, witness.eval_set.rows[asked, :-1])
            for number, (row, row_TV) in enumerate(zip(asked, logits, strict=True), start=start):
                kept = witness.cuts.rows == row
                cuts, end = witness.cuts.take(kept), witness.ends.take(slice(number, number + 1))
                found.append(compare(witness.cut_logits[kept], row_TV[cuts.positions], witness.targets(cuts)))
                again = row_TV[end.positions]
                found.append(compare(witness.end_logits[number : number + 1], again, witness.targets(end)))
        return joined(found)

    def _report(self, sitting: Sitting, suffix: Effects, order: Effects, replay: Effects) -> ProbeReport:
        witness, tolerance = sitting.witness, self._tolerance
        lean, error = suffix.mean_lean()
        eval_set = witness.eval_set
        tokens = int((eval_set.token_bytes[eval_set.rows[:, 1:]] > 0).sum())
        bpb_per_nat = tokens / (math.log(2) * eval_set.total_bytes)
        return ProbeReport(
            text=sitting.name,
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
            lean_bpb=lean * bpb_per_nat,
            blindness=compare_blind(witness.text, witness.costs, sitting.depth.references, witness.vocab_size),
            bpb_per_nat=bpb_per_nat,
            tolerance_nats=tolerance,
            probe_s=time.monotonic() - self._started,
        )
