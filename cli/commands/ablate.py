"""`nightshift ablate`: paired campaigns that differ in one thing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from studies.ablation.comparison import Comparison
    from studies.ablation.estimate import Estimate
    from studies.ablation.outcome import Outcome
    from studies.ablation.plan import Job
    from studies.ablation.study import Study, Wishes
    from studies.ablation.verdict import StudyResult


def ablate(  # noqa: PLR0913, PLR0917  (the options are the command line's contract)
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace: it stays as it is.")],
    arms: Annotated[
        str,
        typer.Option(metavar="K=V,K=V", help="The arms; several settings of one are joined by +.", show_default=False),
    ],
    pairs: Annotated[int, typer.Option(min=1, help="Campaigns of each arm, paired by seed.")] = 10,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each campaign.")] = 40,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Campaigns at a time.")] = 2,
    name: Annotated[
        str | None, typer.Option(help="Of the study (default: one made of what it compares).", show_default=False)
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Begin no campaign after this many hours.")] = None,
    usd: Annotated[
        float | None, typer.Option(min=0.0, help="Begin no campaign once calls have cost this much.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    json: JsonOption = False,
) -> None:
    """Settle an argument: run paired campaigns of two arms or more, and say what the difference is worth.

    K is proposer, model, critic, share, steps, specialists, rule, lineage, fallback or a dotted key of task.toml. The
    same command goes on with a study that was stopped, and with more --pairs it adds to it.
    """
    from cli.terminal.output import print_json, stdout
    from studies.ablation.arms import parse_arms
    from studies.ablation.estimate import estimate
    from studies.ablation.study import Wishes, ready_study
    from studies.ablation.verdict import sum_up

    wishes = Wishes(arms=parse_arms(arms), pairs=pairs, trials=trials, workers=workers, name=name, hours=hours, usd=usd)
    study = ready_study(directory, wishes)
    expected = estimate(study, directory, workers)
    if dry_run:
        if json:
            print_json({"study": str(study.folder), **expected.model_dump()})
        else:
            _print_estimate(stdout(), study, expected)
        return
    stopped = _run(study, wishes, expected)
    result = sum_up(study, stopped)
    _leave(study, result)
    if json:
        print_json(result.model_dump(mode="json"))
    else:
        _print(stdout(), result)
    if stopped is not None or any(arm.failed for arm in result.arms):
        raise typer.Exit(1)


def _run(study: "Study", wishes: "Wishes", expected: "Estimate") -> str | None:
    """Run what is missing, with a line on stderr for each failure and a bar for the rest."""
    from cli.terminal.output import stderr
    from cli.terminal.progress import progress
    from studies.ablation.study import run_study

    if not expected.campaigns:
        return None
    err = stderr()
    err.print(f"{_sentence(expected)}; study: {study.folder}", markup=False, soft_wrap=True)
    done = 0
    with progress("campaigns", after_s=0.0) as report:

        def told(job: "Job", outcome: "Outcome") -> None:
            nonlocal done
            done += 1
            report(done, expected.campaigns)
            if outcome.failed is not None:
                arm = study.plan.arms[job.arm].name
                err.print(f"pair {job.pair}, {arm}: failed: {outcome.failed}", markup=False, soft_wrap=True)

        try:
            return run_study(study, wishes, told)
        except KeyboardInterrupt:
            note = f"{done} more campaigns are recorded; the same command goes on from here"
            err.print(note, markup=False, soft_wrap=True)
            raise


def _sentence(expected: "Estimate") -> str:
    """`60 campaigns, 2,400 trials, about 3 min (known from …), no model is asked`."""
    from cli.terminal.output import seconds

    parts = [f"{expected.campaigns:,} campaigns to run", f"{expected.trials:,} trials"]
    if expected.recorded:
        parts[0] += f" ({expected.recorded:,} recorded)"
    took = "time unknown" if expected.hours is None else f"about {seconds(3600 * expected.hours)}"
    parts.append(f"{took} (from {expected.how})")
    if not expected.tokens_most:
        parts.append("no model is asked")
    elif expected.usd_most is None:
        parts.append(f"at most {expected.tokens_most:,} tokens, of which no price is stated")
    else:
        parts.append(f"at most {expected.tokens_most:,} tokens and {expected.usd_most:,.2f} dollars")
    return ", ".join(parts)


def _print_estimate(out: "Console", study: "Study", expected: "Estimate") -> None:
    out.print(_sentence(expected), markup=False, soft_wrap=True)
    for arm in study.plan.arms:
        shown = ", ".join(f"{key} = {value}" for key, value in arm.overrides.items()) or "as the workspace has it"
        out.print(f"  {arm.name}: {shown}", markup=False, soft_wrap=True)


def _leave(study: "Study", result: "StudyResult") -> None:
    """Write the report into the study's folder."""
    from cli.report.studies.ablation import write_study_report
    from cli.terminal.output import stderr

    left = write_study_report(study, result)
    stderr().print(f"report: {left}", markup=False, soft_wrap=True)


def _print(out: "Console", result: "StudyResult") -> None:
    from cli.terminal.output import table
    from studies.ablation.verdict import MEANINGS

    rows = [
        (MEANINGS[name], *(_figure(arm.measures.get(name)) for arm in result.arms))
        for name in MEANINGS
        if any(arm.measures.get(name) is not None for arm in result.arms)
    ]
    names = [arm.name for arm in result.arms]
    out.print(table(("mean of a campaign", *names), rows, right=names))
    for found in result.comparisons:
        out.print()
        _print_differences(out, found)
    out.print()
    out.print(result.verdict, markup=False, soft_wrap=True)
    if result.stopped is not None:
        out.print(f"stopped before its end: {result.stopped}", markup=False, soft_wrap=True)


def _print_differences(out: "Console", found: "Comparison") -> None:
    from cli.terminal.output import table
    from studies.ablation.verdict import MEANINGS

    columns = (f"{found.first} - {found.second}", "difference", "95 % interval", "p", "p (Holm)", "pairs", "needed")
    rows = [
        (
            MEANINGS[name],
            _figure(d.mean),
            None if d.low is None else f"[{_figure(d.low)}, {_figure(d.high)}]",
            f"{d.p:.4f}",
            f"{d.p_holm:.4f}",
            d.n,
            d.pairs_needed,
        )
        for name, d in found.differences.items()
    ]
    out.print(table(columns, rows, right=columns[1:]))


def _figure(value: float | None) -> Any:
    return None if value is None else f"{value:.5g}"
