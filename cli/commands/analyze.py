"""`nightshift analyze`: what one trajectory shows about the search that made it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption
from cli.inputs.sources import SOURCE_HELP

if TYPE_CHECKING:
    from rich.console import Console

    from cli.inputs.sources import Source
    from memory.figures.analysis import Analysis

_WINDOWS = 20
"""So many of the last rates of repeats are shown."""

_LISTED = 10
"""So many unreadable lines are shown to a person; --json has all."""


def analyze(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default="this folder")] = ".",
    menu: Annotated[Path | None, typer.Option(help="Menu file: which knobs there were to touch.")] = None,
    json: JsonOption = False,
) -> None:
    """Analyze a trajectory. Keeps, repeats, knob coverage, noise, what is unconfirmed, where the time went.

    Also of other loops: their logs are recognised by what they hold.
    """
    from cli.inputs.sources import load_source
    from cli.terminal.output import print_json, stdout

    found = load_source(source, menu)
    analysis = found.analysis()
    if json:
        about = {"format": found.kind, "metric": found.metric, "direction": found.direction}
        told = {"knobs_from": found.knobs_from, "notes": found.notes}
        print_json({**analysis.model_dump(mode="json"), **about, **told})
    else:
        _print(stdout(), found, analysis)


def _print(out: "Console", source: "Source", a: "Analysis") -> None:
    from cli.terminal.output import table

    out.print(table(("", ""), [("source", f"{source.name} ({source.kind})"), *_figures(source, a)]))
    for note in source.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
    for found in a.unreadable[:_LISTED]:
        out.print(f"line {found.line} cannot be read: {found.why}", soft_wrap=True, markup=False)
    if len(a.unreadable) > _LISTED:
        out.print(f"… and {len(a.unreadable) - _LISTED} more lines; --json lists all", soft_wrap=True, markup=False)


def _figures(source: "Source", a: "Analysis") -> list[tuple[str, Any]]:
    from cli.terminal.output import cell, percent, score_text, seconds

    noise, replicated, took = a.noise, a.replicated_best, a.seconds
    last = a.repeats.windows[-_WINDOWS:]
    windows = ("… " if len(last) < len(a.repeats.windows) else "") + " ".join(f"{rate:.2f}" for rate in last)
    statuses = ", ".join(f"{n} {name}" for name, n in a.statuses.items()) or "none"
    spread = f"sd {cell(noise.sd)} with {noise.df} degrees of freedom from {noise.groups} programs measured again"
    again = replicated and f"{score_text(replicated.mean)} over {replicated.n}, {percent(replicated.improvement_frac)}"
    repeats = f"{a.repeats.count}, rate {cell(a.repeats.rate)}; by ten: {windows}"
    return [
        ("trials", f"{a.trials} ({statuses})"),
        ("keeps", f"{_share(a.keep_rate)} of trials, the first at {cell(a.first_keep)}"),
        ("baseline", a.baseline if a.baseline is None else f"{score_text(a.baseline)} ({source.metric})"),
        ("best", f"trial {a.best.trial}, {score_text(a.best.metric)}" if a.best else None),
        ("improvement", percent(a.improvement_frac)),
        ("best, replicated", again),
        ("noise", spread if noise.sd is not None else "nothing was measured twice"),
        ("unconfirmed keeps", ", ".join(map(str, a.unconfirmed_keeps)) or "none"),
        ("repeats", repeats if a.repeats.rate is not None else "no edit is a knob with a value"),
        ("knobs touched", f"{a.coverage.knobs_touched} of {a.coverage.knobs_total} ({source.knobs_from})"),
        ("never touched", ", ".join(a.coverage.untouched) or "none"),
        ("most proposed", ", ".join(f"{pair.knob}={cell(pair.value)} ×{pair.count}" for pair in a.top_pairs) or None),
        ("time", took.total and f"{seconds(took.total)}, {seconds(took.wasted)} of it on trials that failed"),
        ("time by status", ", ".join(f"{name} {seconds(s)}" for name, s in took.by_status.items()) or None),
        ("unreadable lines", len(a.unreadable)),
    ]


def _share(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"
