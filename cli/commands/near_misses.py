"""`nightshift near-misses`: what nearly made it, and what that suggests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from memory.lineage.prospects import Combination, Opposite
    from memory.records import Campaign, Trial


def near_misses(
    directory: WorkspaceArgument = Path(),
    limit: Annotated[int, typer.Option(min=1, help="At most this many of each kind.")] = 10,
    json: JsonOption = False,
) -> None:
    """List what nearly made it. Finished trials with a gain that is not proven, best evidence first; and what to try.

    Combinations are pairs of near misses that were never tried together; opposites are the other side of moves that
    lost for certain, never tried either. Both are legal on today's best.
    """
    from cli.inputs.workspaces import latest_campaign, open_reader
    from cli.terminal.output import print_json
    from memory.keep.near_misses import near_miss
    from memory.lineage.digest import digest_of
    from memory.lineage.rows import NEAR_READ, prospects_of

    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        trials, noise = reader.trials(campaign.campaign_id), reader.noise(campaign.campaign_id)
    digest = digest_of(campaign, trials)
    prospects, near = prospects_of(campaign, digest), digest.near_misses(noise, max(limit, NEAR_READ))[0]
    combinations, opposites = prospects.combinations(near, limit), prospects.opposites(limit)
    misses = [{**near_miss(trial).model_dump(mode="json"), **_more(campaign, trial)} for trial in near[:limit]]
    if json:
        pairs, others = [_pair(pair) for pair in combinations], [_opposite(idea) for idea in opposites]
        print_json({"near_misses": misses, "combinations": pairs, "opposites": others})
    else:
        _print(misses, combinations, opposites)


def _more(campaign: "Campaign", trial: "Trial") -> dict[str, Any]:
    """What it fell short of: the gain that was needed, for what, and how often it was measured."""
    from memory.lineage.hurdles import hurdle_of

    hurdle = hurdle_of(trial, campaign.task)
    return {
        "measurements": trial.n_measurements,
        "needed": None if hurdle is None else hurdle.needed,
        "needed_for": None if hurdle is None else "keep" if hurdle.to_be_kept else "measurement",
        "proven_by": None if hurdle is None else hurdle.enough,
        "fell_short": None if hurdle is None else hurdle.text,
    }


def _pair(pair: "Combination") -> dict[str, Any]:
    from dataclasses import asdict

    settings = [asdict(pair.first), asdict(pair.second)]
    return {"trials": [s["trial"] for s in settings], "settings": settings, "sum_of_gains": pair.sum_of_gains}


def _opposite(idea: "Opposite") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(idea)


def _print(misses: list[dict[str, Any]], pairs: "list[Combination]", others: "list[Opposite]") -> None:
    from cli.terminal.output import gain_text, percent, stdout, table
    from rails.text import UNCORRECTED

    out = stdout()
    if not misses:
        out.print("no near misses yet")
    else:
        rows = [
            (
                m["trial"],
                m["edit"],
                gain_text(m["gain"], m["gain_low"], m["gain_high"]),
                m["p_improve"],
                m["fell_short"],
            )
            for m in misses
        ]
        columns = ("trial", "edit", f"gain on parent,\n{UNCORRECTED}", "p(better)", "fell short")
        out.print(table(columns, rows, right=("trial", "p(better)")))
    if pairs:
        out.print("\nNever tried together:", markup=False)
        out.print(
            table(
                ("trials", "edits", "sum of gains"),
                [
                    (
                        f"{pair.first.trial} + {pair.second.trial}",
                        f"{pair.first.knob}={pair.first.value}, {pair.second.knob}={pair.second.value}",
                        percent(pair.sum_of_gains),
                    )
                    for pair in pairs
                ],
            )
        )
    if others:
        out.print("\nThe other side of a clear loss, never tried:", markup=False)
        out.print(
            table(
                ("edit", "stands at", "lost", "in trial", "gain there"),
                [(f"{o.knob}={o.value}", o.start, o.lost_at, o.trial, percent(o.gain)) for o in others],
            )
        )
