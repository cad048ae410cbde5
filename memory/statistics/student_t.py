"""Student's t distribution, for intervals with few degrees of freedom.

Written out because scipy is not a dependency and the normal distribution is far off at the two or three degrees of
freedom that a fresh campaign has.
"""

import math
from functools import lru_cache

_TINY = 1e-300
_PRECISION = 1e-15
_MAX_TERMS = 10_000


def t_cdf(t: float, df: float) -> float:
    """Probability that a t-distributed variable is at most `t`.

    By the regularised incomplete beta function: P(T > t) = I_x(df/2, 1/2) / 2 with x = df / (df + t²), for t ≥ 0
    (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.1; DLMF 8.17).

    Args:
        t: any number; infinities are fine.
        df: degrees of freedom, above 0.

    Raises:
        ValueError: `t` is NaN or `df` is not above 0.
    """
    if math.isnan(t) or not df > 0:
        raise ValueError(f"t_cdf needs a number and df > 0, not t={t}, df={df}")
    square = t * t
    tail = 0.0 if math.isinf(square) else 0.5 * _beta_ratio(df / 2, 0.5, df / (df + square), square / (df + square))
    return 1 - tail if t > 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: float) -> float:
    """The t with `t_cdf(t, df) == p`, by bisection to machine precision.

    Args:
        p: probability, between 0 and 1, both excluded.
        df: degrees of freedom, above 0.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < p < 1:
        raise ValueError(f"t_quantile needs 0 < p < 1, not {p}")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, high * 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if t_cdf(middle, df) < p:
            low = middle
        else:
            high = middle


def _beta_ratio(a: float, b: float, x: float, complement: float) -> float:
    """The regularised incomplete beta function I_x(a, b); `complement` is 1 - x without its rounding error."""
    if x <= 0:
        return 0.0
    if complement <= 0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(complement)
    front = math.exp(log_front)
    # The fraction converges fast only below the mean; above it, use I_x(a, b) = 1 - I_{1-x}(b, a).
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, complement) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction DLMF 8.17.22 by the modified Lentz method (Press et al., Numerical Recipes, 6.4)."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            step = d * c
            value *= step
        if abs(step - 1) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
