"""`nightshift analyze`: what one trajectory shows about the search that made it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from memory.analysis import Analysis


def analyze(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A workspace.")],
    menu: Annotated[Path | None, typer.Option(help="Menu file: which knobs there were to touch.")] = None,
    json: JsonOption = False,
) -> None:
    """Analyze a trajectory. Keeps, repeats, knob coverage, noise, what is unconfirmed, where the time went."""
    from cli.output import print_json, stdout

    analysis = _analyze(source, menu)
    if json:
        print_json(analysis.model_dump(mode="json"))
    else:
        _print(stdout(), analysis)


def _analyze(source: Path, menu: Path | None) -> "Analysis":
    from cli.workspaces import find_workspace, latest_campaign, open_reader
    from memory.analysis import analyze_trials
    from rails.menu import load_menu

    knobs = load_menu(menu or find_workspace(source).task_path).knobs
    with open_reader(source) as reader:
        campaign = latest_campaign(reader, source)
        return analyze_trials(
            reader.trials(campaign.campaign_id),
            reader.campaign_measurements(campaign.campaign_id),
            list(knobs),
            campaign.task["metric"]["direction"],
        )


def _print(out: "Console", analysis: "Analysis") -> None:
    from cli.output import bpb, cell, percent, seconds, table

    a, noise = analysis, analysis.noise
    windows = " ".join(f"{rate:.2f}" for rate in a.repeats.windows)
    best = f"trial {a.best.trial}, {bpb(a.best.metric)}" if a.best else None
    replicated = a.replicated_best
    rows: list[tuple[str, Any]] = [
        ("trials", f"{a.trials} ({', '.join(f'{n} {name}' for name, n in a.statuses.items()) or 'none'})"),
        ("keeps", f"{percent(a.keep_rate)} of trials, the first at {cell(a.first_keep)}"),
        ("baseline", bpb(a.baseline)),
        ("best", best),
        ("improvement", percent(a.improvement_frac)),
        (
            "best, replicated",
            replicated and f"{bpb(replicated.mean)} over {replicated.n}, {percent(replicated.improvement_frac)}",
        ),
        ("noise", f"sd {cell(noise.sd)} with {noise.df} degrees of freedom from {noise.groups} groups"),
        ("repeats", f"{a.repeats.count}, rate {cell(a.repeats.rate)}; by ten: {windows}"),
        ("knobs touched", f"{a.coverage.knobs_touched} of {a.coverage.knobs_total}"),
        ("never touched", ", ".join(a.coverage.untouched) or "none"),
        ("most proposed", ", ".join(f"{pair.knob}={cell(pair.value)} ×{pair.count}" for pair in a.top_pairs) or None),
        ("unconfirmed keeps", ", ".join(map(str, a.unconfirmed_keeps)) or "none"),
        ("time", f"{seconds(a.seconds.total)}, {seconds(a.seconds.wasted)} of it on trials that failed"),
        ("unreadable rows", len(a.unreadable)),
    ]
    out.print(table(("", ""), rows))
