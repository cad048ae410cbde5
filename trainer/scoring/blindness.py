"""Whether a program gained more where it was shown a text than where it was blind to what follows.

Compared are averages, of the differences to what another program's answers cost on the same tokens: an order less noisy
than costs. Single answers prove nothing, for a program may be honest at the one place where it was cut.

Two scales are compared. In nats no gain of any shape can hide that is worth much. Of the square roots of costs,
differences are four times less noisy than what a few known tokens do to them: a token that was dear and now costs
nothing stands out among honest changes of dear ones.

Under the null the blind rows are a random sample of all rows, so the gap has mean 0 and the error of cluster sampling
(rows are the clusters; Cochran, Sampling Techniques, section 9A).

Shapes: S rows whose costs are kept, T positions, K blind places, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.blind import LEAST_ROWS, Costs, HeldBack
from trainer.scoring.cuts import Indices

SURE = 5.0
"""Standard errors by which the shown gain must exceed the blind one to be held against a model."""
CLIP = 1.5
"""No token counts for more than this many times a uniform guess, ln V: a few absurd answers would hide any gap behind
the spread that they cause."""

Bools = NDArray[np.bool_]
Float64 = NDArray[np.float64]

_SCALES: tuple[Callable[[Float64], Float64], ...] = (np.array, np.sqrt)
"""Costs as they are, and their square roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How much more a program gained on shown places than on blind ones.

    Attributes:
        places: the blind ones.
        nats: a token.
        errors: in standard errors, on the scale on which it is larger; 0 where too few rows say anything.
    """

    places: int
    nats: float
    errors: float

    @property
    def too_large(self) -> bool:
        """Whether the shown score was not earned."""
        return self.errors > SURE


NO_GAP = Gap(places=0, nats=0.0, errors=0.0)


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
    fitting = [reference for reference in references if reference.fits(text)]
    blind, unseen = list[Gap](), list[Gap]()
    for reference in fitting or [None]:
        gaps = [_compare(text, scale, costs, reference, cap) for scale in _SCALES]
        in_nats = gaps[0]
        blind += [replace(of_all, nats=in_nats[0].nats) for of_all, _ in gaps]
        unseen += [replace(of_last, nats=in_nats[1].nats) for _, of_last in gaps]
    return Blindness(
        blind=max(blind, key=lambda gap: gap.errors),
        unseen=max(unseen, key=lambda gap: gap.errors),
        paired=bool(fitting),
    )


def _compare(
    text: HeldBack, scale: Callable[[Float64], Float64], costs: Costs, reference: Costs | None, cap: float
) -> tuple[Gap, Gap]:
    """The gaps over all blind places and over the unseen ones, on one scale."""

    def scaled(part: NDArray[np.float32]) -> Float64:
        return scale(np.minimum(part.astype(np.float64), cap))

    shown_ST, blind_K = scaled(costs.shown), scaled(costs.blind)
    if reference is not None:
        shown_ST, blind_K = shown_ST - scaled(reference.shown), blind_K - scaled(reference.blind)
    spread = _spread(shown_ST)
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
    """How what is shown varies.

    Attributes:
        means: by kind of position.
        variances: by kind of position.
        between: variance between rows, beyond that within them.
        of_mean: squared standard error of the mean over all.
    """

    means: Float64
    variances: Float64
    between: float
    of_mean: float


def _spread(shown_ST: Float64) -> _Spread:
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
    return _Spread(means, variances, max(0.0, of_rows - within), of_rows / max(1, len(row_S)))


def _gap(excess_K: Float64, rows_K: Indices, kind_K: Indices, spread: _Spread) -> Gap:
    """The mean excess of blind places, and how far beyond sampling it is.

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
    # In units of the rarer limit: what is as rare as SURE of a normal one counts as SURE.
    error = min(_sure_t(b - 1) / SURE * math.sqrt(from_blind), math.sqrt(from_shown))
    return Gap(places=n, nats=mean, errors=mean / error if error else math.copysign(math.inf, mean) if mean else 0.0)


def _sure_t(df: int) -> float:
    """The quantile of Student's t that is as rare as `SURE` standard errors of a normal one.

    Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5.
    """
    z = SURE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3
