"""Keeps for being simpler: a change of the code that saves something, and is hardly worse than the best ever kept.

The hypotheses of a keep are turned round. To be refuted is that the candidate is worse than the best by the whole
margin (non-inferiority, as in https://doi.org/10.1186/1745-6215-12-106), with the evidence, bounds and replication that
a gain takes. The best is the best of the programs that the incumbent stands on and that were kept as gains: losses of
several simplifications, one on top of the other, must all fit into one margin.

A candidate is judged as a simplification only once it was given up as a gain, and from then on as nothing else: looking
for a gain again whenever it is measured would find one by chance.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from memory.keep.evidence import Decision, Direction, better
from memory.records import SIMPLER, percent

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is of a program.

    Attributes:
        nodes: of its normalised syntax tree.
        params: of its model, as its process states them; None where it was never measured.
    """

    nodes: int
    params: int | None


def saving(candidate: Size, incumbent: Size) -> str | None:
    """What a candidate saves, and what it takes for that; None when it is not simpler.

    Returns:
        `44 of 1,204 syntax nodes less`, `1,000 of 20,000 parameters less, 12 of 1,204 syntax nodes more`.
    """
    known = [(candidate.nodes, incumbent.nodes, "syntax nodes")]
    if candidate.params is not None and incumbent.params is not None:
        known.append((candidate.params, incumbent.params, "parameters"))
    less = [f"{theirs - ours:,} of {theirs:,} {what} less" for ours, theirs, what in known if ours < theirs]
    more = [f"{ours - theirs:,} {what} more than {theirs:,}" for ours, theirs, what in known if ours > theirs]
    return ", ".join(less + more) if less else None


def best_of(chain: Iterable[tuple[T, float]], direction: Direction) -> T | None:
    """The best of programs given with their metrics; of equal ones the first."""
    best: tuple[T, float] | None = None
    for program, metric in chain:
        if best is None or better(metric, best[1], direction):
            best = program, metric
    return None if best is None else best[0]


def as_simplification(found: Decision, given_up: Decision, *, saved: str, best: str, margin: float) -> Decision:
    """The decision about a candidate that saves something and is no gain.

    Args:
        found: by the rule, on the evidence against the best, with the margin.
        given_up: by the rule, on that against the incumbent: what is said of a gain is said by this.
        saved: see `saving`.
        best: the best ever kept, in words.
        margin: how much worse than that it may be.
    """
    most = f"no more than {percent(margin, 2)} worse than {best}"
    match found.action:
        case "keep":
            reason = f"simpler, {saved}; {most}: {found.reason}"
        case "measure":
            reason = f"{saved}, to be kept if it is {most}: {found.reason}"
        case "discard":
            reason = f"{given_up.reason}; {saved}, but not proven to be {most}"
    stated = {"kind": SIMPLER, "saved": saved, "against": best, "simpler_margin": margin}
    return replace(
        found,
        reason=reason,
        gain=given_up.gain,
        gain_low=given_up.gain_low,
        gain_high=given_up.gain_high,
        p_improve=given_up.p_improve,
        evidence={**found.evidence, **stated},
    )
