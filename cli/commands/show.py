"""`nightshift show`: everything about one trial."""

from typing import Annotated, Any

import typer

from cli.options import JsonOption, WorkspaceArgument


def show(
    directory: WorkspaceArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Its number; 0 is the baseline.")],
    json: JsonOption = False,
) -> None:
    """Show everything about one trial. Proposal, verdicts, diff, measurements, decision with its evidence, calls."""
    from cli.output import print_json
    from cli.workspaces import find_trial, latest_campaign, open_reader

    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        row = find_trial(reader, campaign, trial)
        document: dict[str, Any] = {
            "trial": row.model_dump(mode="json", exclude={"diff", "decision"}),
            "proposal": {
                "hypothesis": row.hypothesis,
                "expected_delta": row.expected_delta,
                "reason": row.rationale,
                "edit": row.edit,
            },
            "verdicts": [v.model_dump(mode="json") for v in reader.verdicts(row.trial_id)],
            "diff": row.diff,
            "measurements": [m.model_dump(mode="json") for m in reader.measurements(row.trial_id)],
            "decision": row.decision,
            "calls": [c.model_dump(mode="json") for c in reader.calls(row.trial_id)],
        }
    if json:
        print_json(document)
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    from cli.output import bpb, cell, gain_text, stdout, table

    out, trial, proposal = stdout(), document["trial"], document["proposal"]

    def line(text: str) -> None:
        out.print(text, soft_wrap=True, markup=False)

    line(f"trial {trial['seq']}: {trial['status'] or trial['phase']}  {trial['edit_key'] or '(baseline)'}")
    if trial["reason"]:
        line(f"why: {trial['reason']}")
    gain = gain_text(trial["gain"], trial["gain_low"], trial["gain_high"])
    metric = f"{bpb(trial['metric'])} ({trial['n_measurements']} x measured)"
    line(f"metric {metric}  gain on parent {gain}  p(better) {cell(trial['p_improve'])}")
    if proposal["hypothesis"]:
        line(f"hypothesis: {proposal['hypothesis']}")
    if proposal["reason"] and proposal["reason"] != proposal["hypothesis"]:
        line(f"reason: {proposal['reason']}")
    if document["verdicts"]:
        line("")
        rows = [(v["attempt"], v["rail"], "ok" if v["ok"] else "blocked", v["reason"]) for v in document["verdicts"]]
        out.print(table(("attempt", "rail", "verdict", "reason"), rows))
    if document["measurements"]:
        line("")
        right = ("bpb", "steps", "cuts")
        columns = ("seed", "for", "state", "bpb", "steps", "trained", "level", "cuts", "reason")
        out.print(table(columns, map(_measurement_row, document["measurements"]), right=right))
    if document["decision"]:
        line("")
        out.print(table(("evidence", ""), document["decision"].items()))
    if document["calls"]:
        line("")
        rows = [
            (c["attempt"], c["model"] or c["proposer"], f"{c['latency_s']:.2f} s", c["error"] or c["raw_reply"])
            for c in document["calls"]
        ]
        out.print(table(("attempt", "asked", "took", "answer"), rows))
    if document["diff"]:
        line("")
        line(document["diff"])


def _measurement_row(m: dict[str, Any]) -> tuple[Any, ...]:
    """Level: how its process was isolated. Cuts: at how many places it was seen not to look ahead."""
    from cli.output import bpb, seconds

    cuts = (m["probes"] or {}).get("cuts")
    return (
        m["seed_index"],
        m["purpose"],
        m["state"],
        bpb(m["val_bpb"]),
        m["steps"],
        seconds(m["train_s"]),
        m["isolation"],
        cuts,
        m["reason"],
    )
