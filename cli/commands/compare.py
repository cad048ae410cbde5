"""`nightshift compare`: two arms side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from memory.figures.comparison import CampaignRows, Comparison

_ARM_HELP = "{}: a workspace, one of its campaigns (DIR@TAG), a log file, or several with commas between."


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_ARM_HELP.format("First arm"))],
    second: Annotated[str, typer.Argument(metavar="B", help=_ARM_HELP.format("Second arm"))],
    margin: Annotated[
        float | None,
        typer.Option(min=0.0, help="Count again only keeps that better the last counted one by more than this."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare two arms. Keeps, best, waste, failures by kind, ratios of A to B, and exact tests.

    With one campaign an arm trials are compared (Fisher's exact test). With several the campaign is the unit: a
    permutation test and a bootstrap interval.
    """
    from cli.terminal.output import print_json, stdout
    from memory.figures.comparison import compare_arms

    comparison = compare_arms(_arm(first), _arm(second), margin)
    if json:
        print_json(comparison.model_dump(mode="json"))
    else:
        _print(stdout(), comparison)


def _arm(sources: str) -> "list[CampaignRows]":
    """The campaigns of one arm. A path that exists is taken whole, commas and all."""
    from cli.inputs.sources import load_source
    from memory.figures.comparison import CampaignRows

    names = [sources] if Path(sources).expanduser().exists() else [name for name in sources.split(",") if name]
    found = [load_source(name) for name in names or [sources]]
    return [
        CampaignRows(name=source.name, rows=source.rows, direction=source.direction, metric=source.metric)
        for source in found
    ]


def _print(out: "Console", comparison: "Comparison") -> None:
    from cli.terminal.output import table

    a, b = comparison.arms
    rows = [
        (name, _of(a, name), _of(b, name), _times(comparison.ratios.get(name)))
        for name in ("campaigns", "trials", "keeps", "keep_rate", "keeps_over_margin", "baseline", "best", "gain")
        if name != "keeps_over_margin" or comparison.margin is not None
    ]
    rows += [
        (name, _of(a, name), _of(b, name), _times(comparison.ratios.get(name))) for name in ("seconds_s", "wasted_s")
    ]
    out.print(table(("", "A", "B", "A / B"), rows, right=("A", "B", "A / B")))
    out.print()
    kinds = list(dict.fromkeys([*a.statuses, *b.statuses]))
    parts = [_status_row(comparison, kind) for kind in kinds]
    out.print(
        table(("status", "A", "B", "A / B", "time A", "time B"), parts, right=("A", "B", "A / B", "time A", "time B"))
    )
    out.print()
    tests = [_test_row(name, found.model_dump()) for name, found in comparison.tests.items()]
    out.print(table(("test", "p", "p (Holm)", "A - B", "95 % interval", "method"), tests))
    for warning in comparison.warnings:
        out.print(f"note: {warning}", soft_wrap=True, markup=False)


def _of(arm: Any, name: str) -> str:
    from cli.terminal.output import percent, score_text, seconds

    shown: dict[str, Callable[[], str]] = {
        "campaigns": lambda: str(len(arm.campaigns)),
        "keeps": lambda: str(arm.statuses.get("keep", 0)),
        "keep_rate": lambda: "–" if arm.keep_rate is None else f"{100 * arm.keep_rate:.1f} %",
        "gain": lambda: percent(arm.gain),
        "best": lambda: score_text(arm.best),
        "baseline": lambda: score_text(arm.baseline),
        "seconds_s": lambda: seconds(arm.seconds_s),
        "wasted_s": lambda: seconds(arm.wasted_s),
    }
    return shown[name]() if name in shown else str(getattr(arm, name))


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def _status_row(comparison: "Comparison", kind: str) -> tuple[Any, ...]:
    from cli.terminal.output import seconds

    a, b = comparison.arms
    counts = a.statuses.get(kind, 0), b.statuses.get(kind, 0)
    took = seconds(a.seconds_by_status.get(kind)), seconds(b.seconds_by_status.get(kind))
    return (kind, *counts, _times(counts[0] / counts[1] if counts[1] else None), *took)


def _test_row(name: str, found: dict[str, Any]) -> tuple[Any, ...]:
    interval = None if found["low"] is None else f"[{found['low']:.4g}, {found['high']:.4g}]"
    corrected = None if found["p_holm"] is None else f"{found['p_holm']:.4f}"
    return (name, f"{found['p']:.4f}", corrected, found["difference"], interval, found["method"])
