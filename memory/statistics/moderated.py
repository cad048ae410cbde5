"""Moderated variances: what many small samples say together about how much the next one varies.

The model is that of Smyth (2004, https://doi.org/10.2202/1544-6115.1027, section 3): the variances of all samples are
drawn around a common one, scaled inverse chi-square with `df` degrees of freedom. Many equal variances make for many
degrees of freedom, and a sample of two is then believed to vary as the others do; different ones make for few, and its
own spread counts. Smyth fits the two numbers by moments of log variances, which wants hundreds of samples; ours are a
dozen of two or three values each, so they are fitted by their marginal likelihood, averaged over a grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_GRID: Final = (1, 2, 3, 5, 8, 16, 48)
"""Degrees of freedom that are weighed against each other; beyond the last a variance is as good as known."""

_WEIGHTS: Final = tuple(1 / df for df in _GRID)
"""Before anything is known, small ones are likelier: to expect different variances is the safe side."""

_GUESS_DF: Final = 1
"""The guess counts as one more sample with so many degrees of freedom."""

_STEPS: Final = 6
"""Steps of the iteration for the common variance: enough for a per cent."""

_FLOOR: Final = 1e-6
"""A sample whose values agree to the last digit counts as varying by this share of the guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is expected of a sample's variance before it is seen."""

    variance: float
    df: float
    """Degrees of freedom: how much of a sample it takes to outweigh the expectation."""
    known_df: float
    """Degrees of freedom of all the samples behind it: how well the common variance itself is known."""

    def moderate(self, squares: float, df: float) -> tuple[float, float]:
        """The variance of a sample, and its degrees of freedom: the expectation and its own squares together.

        The degrees of freedom are never more than those of all samples together (as in limma's `squeezeVar`).
        """
        variance = (self.df * self.variance + squares) / (self.df + df)
        return variance, min(self.df + df, self.known_df + df)


def fit_prior(samples: Sequence[tuple[int, float]], guess: float, guess_df: float) -> Prior:
    """Fit what the samples have in common.

    Args:
        samples: (degrees of freedom, sum of squares around the mean) of each.
        guess: a variance from elsewhere, above 0: all there is to go by without samples, one voice among them.
        guess_df: its degrees of freedom.
    """
    known = [(df, max(squares / guess, _FLOOR * df)) for df, squares in samples]
    voices = [*known, (_GUESS_DF, float(_GUESS_DF))]
    start = math.fsum(squares for _, squares in voices) / sum(df for df, _ in voices)
    commons = [_common(voices, df, start) for df in _GRID]
    if known:
        evidence = [_log_likelihood(known, df, common) for df, common in zip(_GRID, commons, strict=True)]
        best = max(evidence)
        weights = [math.exp(found - best) * prior for found, prior in zip(evidence, _WEIGHTS, strict=True)]
    else:
        weights, commons = list(_WEIGHTS), [1.0] * len(_GRID)
    whole = math.fsum(weights)
    log_common = math.fsum(weight * math.log(common) for weight, common in zip(weights, commons, strict=True)) / whole
    return Prior(
        variance=guess * math.exp(log_common),
        df=whole / math.fsum(weight / df for weight, df in zip(weights, _GRID, strict=True)),
        known_df=guess_df + sum(df for df, _ in known),
    )


def _common(samples: Sequence[tuple[int, float]], df: int, start: float) -> float:
    """The common variance with the greatest likelihood given `df`: an expectation-maximisation over precisions."""
    common = start
    for _ in range(_STEPS):
        common = len(samples) / math.fsum((df + own) / (df * common + squares) for own, squares in samples)
    return common


def _log_likelihood(samples: Sequence[tuple[int, float]], df: int, common: float) -> float:
    """Of all samples' squares, up to a constant: each, over its df and the common variance, is F(own df, `df`)."""
    scale = df * common
    return math.fsum(
        _log_gamma_of_half(df + own)
        - _log_gamma_of_half(df)
        + df / 2 * math.log(scale)
        - (df + own) / 2 * math.log(scale + squares)
        for own, squares in samples
    )


@lru_cache(maxsize=256)
def _log_gamma_of_half(twice: int) -> float:
    return math.lgamma(twice / 2)
