"""The legend of the main figure, for the page and for the picture."""

from cli.report import text
from cli.report.trajectory import reaches_beyond
from memory.figures.trajectory import Trajectory
from rails.text import UNCORRECTED


def legend(trajectory: Trajectory) -> list[tuple[str, str]]:
    """What is in the figure: the name of each mark, as in `small.symbols`, and what it means."""
    t = trajectory
    per_cent = f"95{text.SPACE}%"
    entries = [
        (True, "base", "baseline"),
        (bool(t.keeps), "keep", f"keep, with the {per_cent} interval of its mean, {UNCORRECTED}"),
        (any(not keep.confirmed and not keep.simpler for keep in t.keeps), "unconfirmed", "keep, unconfirmed"),
        (any(keep.simpler for keep in t.keeps), "unconfirmed", "kept as simpler: no gain"),
        (bool(t.points), "discard", "discarded, measured"),
        (bool(t.columns), "column", "discarded: lowest to highest, middle half, median"),
        (True, "best", "best so far, mean of all its measurements"),
        (
            bool(t.steps and t.steps[0].band),
            "band",
            f"noise: where {per_cent} of single measurements of that best would fall",
        ),
        (bool(t.lanes), "fail", "no score"),
        (reaches_beyond(t), "beyond", "worse than the edge"),
    ]
    return [(mark, meaning) for there, mark, meaning in entries if there]
