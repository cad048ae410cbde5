"""Blind scoring: rows that no program is ever shown whole, to see whether a score was earned.

Probes find a program that looks ahead as long as its replica does not know what the scored process saw. Should the two
find a way to talk, or a trial leave text for the next one, probes find nothing. What nobody was shown, nobody can have
passed on: a few rows of every held-back text are kept *blind*. They are only asked about as prefixes, cut at secret
places with foreign text behind, each row from left to right; after the last cut of a row nothing of it is ever shown,
in any campaign on this text. A program that earns its score gains on blind places what it gains on shown ones.

Compared are averages, of the differences to what another program's answers cost on the same tokens: an order less noisy
than costs. Single answers prove nothing, for a program may be honest at the one place where it was cut.

The rows follow from a secret of the held-back text itself, so every trial of every campaign has the same ones, and
scores stay comparable. Under the null the blind rows are a random sample of all rows, so the gap has mean 0 and the
sampling error of cluster sampling (rows are the clusters; Cochran, Sampling Techniques, section 9A).

Shapes: R rows, T positions, S rows whose costs are kept, K blind places, V vocabulary.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.shards import EvalSet
from trainer.scoring.cuts import Indices, Places

BLIND_ROWS = 64
"""Rows of a text that are kept blind, as far as that leaves three in four to be scored."""
LEAST_ROWS = 16
"""With fewer blind rows the gap says nothing: a text so short is scored whole, and not blind at all."""
CUTS_A_ROW = 16
"""Blind places of a row: all are asked before a keep, two of every trial."""
SAMPLE_ROWS = 256
"""Shown rows whose costs by token are kept for comparison."""
SURE = 5.0
"""Standard errors by which the shown gain must exceed the blind one to be held against a model."""
CLIP = 1.5
"""No token counts for more than this many times a uniform guess, ln V: a few absurd answers would hide any gap behind
the spread that they cause."""

Bools = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A held-back text: the rows that are scored, and those that are only shown up to a cut."""

    shown: EvalSet
    blind: EvalSet
    cuts: Places
    """The K blind places, in rows of `blind`: by row, and in a row from left to right."""
    unseen: Bools
    """[K]: the last one of its row, so that the token after it has never been shown to anybody."""
    quick: Bools
    """[K]: those that are asked of every trial."""
    sample: Indices
    """[S] rows of `shown`, rising: those whose costs are kept."""

    def chosen(self, whole: bool) -> Bools:
        """[K]: the places to ask about."""
        return np.ones_like(self.quick) if whole else self.quick


def reserve(eval_set: EvalSet, secret: bytes) -> HeldBack:
    """Set the blind rows of a text apart.

    Args:
        eval_set: the whole text.
        secret: what no trial can know; the same secret sets the same rows and places apart.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(b"blind rows:" + secret).digest()[:16]))
    count = len(eval_set.rows)
    blind = min(BLIND_ROWS, count // 4)
    rows = np.sort(rng.choice(count, blind if blind >= LEAST_ROWS else 0, replace=False))
    found: list[tuple[int, int, bool, bool]] = []
    for index, row in enumerate(eval_set.rows[rows]):
        counted = np.flatnonzero(eval_set.token_bytes[row[1:]] > 0)
        if not len(counted):
            continue
        last = int(rng.choice(counted))
        before = counted[counted < last]
        drawn = rng.choice(before, min(CUTS_A_ROW - 1, len(before)), replace=False)
        quick = int(drawn[0]) if len(drawn) else last
        found += [(index, t, t == last, t in (quick, last)) for t in sorted([*map(int, drawn), last])]
    shown = np.delete(eval_set.rows, rows, axis=0)
    sample = np.sort(rng.choice(len(shown), min(SAMPLE_ROWS, len(shown)), replace=False))
    table = np.asarray(found, np.int64).reshape(-1, 4)
    return HeldBack(
        shown=EvalSet(shown, eval_set.token_bytes),
        blind=EvalSet(eval_set.rows[rows], eval_set.token_bytes),
        cuts=Places(table[:, 0], table[:, 1]),
        unseen=table[:, 2].astype(bool),
        quick=table[:, 3].astype(bool),
        sample=sample,
    )


@dataclass(frozen=True, slots=True)
class Costs:
    """What one program's answers cost by token, in nats; NaN where it was not asked, or the token is of no byte."""

    shown: Float32
    """[S, T], of the rows of `HeldBack.sample`."""
    blind: Float32
    """[K]."""

    def fits(self, text: HeldBack) -> bool:
        """Whether they are of this text, cut as it is now."""
        shape = len(text.sample), text.shown.rows.shape[1] - 1
        return self.shown.shape == shape and len(self.blind) == len(text.cuts)


def mean_costs(found: Sequence[Costs]) -> Costs | None:
    """The mean over several measurements of a program, each place over those that asked about it; None of none."""
    return Costs(_mean([each.shown for each in found]), _mean([each.blind for each in found])) if found else None


def _mean(parts: Sequence[Float32]) -> Float32:
    stacked = np.stack(parts)
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How much more a program gained on shown places than on blind ones, in nats a token."""

    places: int
    nats: float
    allowed_nats: float
    """More than this is not sampling error. Infinite where too few rows say anything."""

    @property
    def too_large(self) -> bool:
        """Whether the shown score was not earned."""
        return self.nats > self.allowed_nats

    @property
    def share(self) -> float:
        """Of what is allowed; endless where nothing is."""
        return self.nats / self.allowed_nats if self.allowed_nats else math.copysign(math.inf, self.nats)


NO_GAP = Gap(places=0, nats=0.0, allowed_nats=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """What blind scoring found.

    Attributes:
        blind: over all blind places that were asked.
        unseen: over those whose next token was never shown to any program: what an earlier trial passed on does not
            help there.
        paired: whether differences to other programs' costs were compared, or the costs themselves.
    """

    blind: Gap
    unseen: Gap
    paired: bool


def compare_blind(text: HeldBack, costs: Costs, references: Sequence[Costs], vocab_size: int) -> Blindness:
    """Compare what a program gained where it was shown the text with what it gained where it was blind.

    Args:
        text: the held-back text.
        costs: of the program.
        references: of programs that it is compared with, on the same tokens, each by itself. The incumbent alone would
            not do: one that answers badly on purpose where it is blind, as badly as it may, gives its successor room,
            and that one the next. Those of another text are left out; without any, the costs themselves are compared.
        vocab_size: V.
    """
    cap = CLIP * math.log(vocab_size)
    ours = [np.minimum(part.astype(np.float64), cap) for part in (costs.shown, costs.blind)]
    found = [
        _compare(text, ours[0] - np.minimum(reference.shown, cap), ours[1] - np.minimum(reference.blind, cap))
        for reference in references
        if reference.fits(text)
    ]
    gaps = found or [_compare(text, *ours)]
    blind, unseen = (max(each, key=lambda gap: gap.share) for each in zip(*gaps, strict=True))
    return Blindness(blind=blind, unseen=unseen, paired=bool(found))


def _compare(text: HeldBack, shown_ST: Float64, blind_K: Float64) -> tuple[Gap, Gap]:
    """The gaps over all blind places and over the unseen ones."""
    spread = _Spread.of(shown_ST)
    kind_K = _kinds(shown_ST.shape[1])[text.cuts.positions]
    excess_K = blind_K - spread.means[kind_K]
    known_K = np.isfinite(excess_K)

    def gap(chosen_K: Bools) -> Gap:
        return _gap(excess_K[chosen_K], text.cuts.rows[chosen_K], kind_K[chosen_K], spread)

    return gap(known_K), gap(known_K & text.unseen)


def _kinds(length: int) -> Indices:
    """[T]: positions by their power of two, because what a token costs depends most on where a row has just begun."""
    return np.floor(np.log2(np.arange(1, length + 1))).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Spread:
    """Means and variances of what is shown, by kind of position; and of the means of rows."""

    means: Float64
    variances: Float64
    between: float
    """Variance between rows, beyond that within them."""
    of_mean: float
    """Squared standard error of the mean over all."""

    @classmethod
    def of(cls, shown_ST: Float64) -> "_Spread":
        kind_T = _kinds(shown_ST.shape[1])
        groups = [shown_ST[:, kind_T == kind] for kind in range(int(kind_T[-1]) + 1)]
        known = [group[np.isfinite(group)] for group in groups]
        everything = np.concatenate(known)
        overall = float(everything.mean()) if len(everything) else math.nan
        means = np.asarray([part.mean() if len(part) > 1 else overall for part in known])
        variances = np.asarray([part.var() if len(part) > 1 else everything.var() for part in known])
        residual_ST = shown_ST - means[kind_T]
        finite_ST = np.isfinite(residual_ST)
        count_S = finite_ST.sum(axis=1)
        row_S = np.where(finite_ST, residual_ST, 0.0).sum(axis=1)[count_S > 0] / count_S[count_S > 0]
        of_rows = float(row_S.var(ddof=1)) if len(row_S) > 1 else math.inf
        within = float(variances.mean()) / max(1.0, float(count_S.mean()))
        return cls(means, variances, max(0.0, of_rows - within), of_rows / max(1, len(row_S)))


def _gap(excess_K: Float64, rows_K: Indices, kind_K: Indices, spread: _Spread) -> Gap:
    """The mean excess of blind places, and how much of it sampling explains.

    The error is estimated twice, from the blind places and from the spread of the shown ones, and the smaller limit
    holds: a program can blow up either one, by answering wildly where it sees that it is blind, or by leaning on what
    it should not know where it is not; not both without paying for it.
    """
    rows, row_K = np.unique(rows_K, return_inverse=True)
    n, b = len(excess_K), len(rows)
    if b < LEAST_ROWS:
        return NO_GAP
    mean = float(excess_K.mean())
    count_B = np.bincount(row_K)
    sum_B = np.bincount(row_K, weights=excess_K) - count_B * mean
    from_blind = b / (b - 1) * float((sum_B**2).sum()) / n**2 + spread.of_mean
    share = float((count_B**2).sum()) / n**2
    from_shown = spread.between * share + float(spread.variances[kind_K].mean()) / n + spread.of_mean
    allowed = min(_sure_t(b - 1) * math.sqrt(from_blind), SURE * math.sqrt(from_shown))
    return Gap(places=n, nats=mean, allowed_nats=allowed)


def _sure_t(df: int) -> float:
    """The quantile of Student's t that is as rare as `SURE` standard errors of a normal one.

    Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5.
    """
    z = SURE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3
