"""`nightshift race`: students and proposers on the same held-out choices."""

import itertools
import json as json_text
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.distil import HoldoutOption, MenuOption
from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from studies.distil.corpus import Corpus
    from studies.distil.racers import Racer

DIRECT = ("marginal", "conditional logit", "uniform")
"""In every race: naming them again changes nothing."""


def race(  # noqa: PLR0913, PLR0917  (the options are the command line's contract)
    proposers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROPOSER...",
            help="student:NAME, a student's folder, tpe, random, a model of models.toml, or replay:FILE.",
            show_default=False,
        ),
    ] = None,
    on: Annotated[str, typer.Option(metavar="SOURCE", help="A corpus, a workspace, or a log file.")] = ".",
    menu: MenuOption = None,
    holdout: HoldoutOption = None,
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Draws of each for each choice.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="For the draws.")] = 0,
    live: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Then whole campaigns on this recorded table, too.", show_default=False),
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Campaigns of each, paired by seed (--live).")] = 20,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each campaign (--live).")] = 40,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for race.json and race.svg.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Race proposers on held-out choices: who says best what was chosen, how surely, and at what cost.

    `marginal`, `conditional logit` and `uniform` are in every race: whoever does not beat the first has learnt nothing
    beyond counts. replay:FILE takes predictions that were recorded, one line for each held-out choice. With --live all
    that can propose drive campaigns, beside `tpe` and `random`: name the student first and its teacher second.
    """
    from cli.inputs.corpora import find_corpus
    from cli.terminal.output import print_json, stdout
    from cli.terminal.progress import progress
    from studies.distil.race import race as run_race
    from trainer.energy import EnergyMeter

    corpus = find_corpus(on, menu, holdout)
    racers = [make_racer(name, corpus) for name in proposers or () if name not in DIRECT]
    with progress("racing"), EnergyMeter("cpu") as meter:
        found = run_race(corpus, racers, samples=samples, seed=seed, joules=meter.read_joules)
        energy = meter.describe()
    found = {"on": on, **found, "energy": energy}
    if live is not None:
        found["live"] = _run_live(live, [name for name in proposers or () if may_drive(name)], pairs, trials, out)
    if out is not None:
        _leave(out, found)
    if json:
        print_json(found)
        return
    _print(stdout(), found, energy)


def may_drive(name: str) -> bool:
    """Whether somebody in a race can drive a campaign: who has no counterpart there, or was recorded, cannot."""
    return name not in DIRECT and not name.startswith("replay:")


def _run_live(table: str, names: list[str], pairs: int, trials: int, out: Path | None) -> dict[str, Any]:
    """The live race, with a bar; its campaigns stay where the race is left."""
    from cli.terminal.progress import progress
    from rails.errors import UserError
    from studies.ablation.study import Wishes
    from studies.live import live_race

    if not names:
        raise UserError("nobody is named who could drive campaigns", fix="name a student, or another proposer")
    wishes = Wishes(arms=(), pairs=pairs, trials=trials)
    with tempfile.TemporaryDirectory() as folder, progress("live campaigns", after_s=0.0) as report:
        home = Path(folder) if out is None else out.expanduser()
        home.mkdir(parents=True, exist_ok=True)
        total = pairs * len({*names, "tpe", "random"})
        count = itertools.count(1)
        return live_race(home, table, names, wishes, lambda job, outcome: report(next(count), total))


def _leave(out: Path, found: dict[str, Any]) -> None:
    """Write the figures and the drawing."""
    from cli.report.studies.race import race_svg
    from cli.terminal.output import stderr
    from memory.atomic import atomic_write_text

    folder = out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / "race.json", json_text.dumps(found, indent=1) + "\n")
    atomic_write_text(folder / "race.svg", race_svg(found))
    stderr().print(f"left in {folder}: race.json, race.svg", markup=False, soft_wrap=True)


def make_racer(name: str, corpus: "Corpus") -> "Racer":
    """Who is meant by a name on the command line.

    Raises:
        UserError: nobody.
    """
    from agents.local.card import CARD
    from agents.local.shelf import find_student
    from agents.local.student import load_student
    from agents.registry import STUDENT, make_proposer
    from studies.distil.racers import DistributionRacer, ProposerRacer, RecordedRacer

    folder = Path(name).expanduser()
    if name.startswith(STUDENT) or (folder / CARD).is_file():
        home = find_student(name.removeprefix(STUDENT)) if name.startswith(STUDENT) else folder
        student = load_student(home)
        return DistributionRacer(name, student.scorer, student.card.temperature)
    if name.startswith("replay:"):
        return RecordedRacer(name, Path(name.removeprefix("replay:")).expanduser())
    proposer = make_proposer(name, workspace=Path())
    proposer.check_ready()
    return ProposerRacer(name, proposer, corpus)


def _print(out: Any, found: dict[str, Any], energy: str) -> None:
    from cli.terminal.output import table

    columns = ("proposer", "valid", "nll", "knob", "exact", "knob, drawn", "same again", "entropy", "distinct",
               "value", "known", "time")  # fmt: skip
    rows = [_row(name, figures) for name, figures in found["proposers"].items()]
    out.print(table(columns, rows, right=columns[1:]))
    out.print(
        f"{found['rows']} held-out choices, {found['samples']} draws each; nll in nats, [95 % by bootstrap]; knob and "
        "exact: of what it holds most likely; value: mean gain of its picks that are on record",
        soft_wrap=True,
        markup=False,
    )
    out.print(f"energy: {energy}", soft_wrap=True, markup=False)
    if "live" in found:
        _print_live(out, found["live"])


def _print_live(out: Any, live: dict[str, Any]) -> None:
    from cli.terminal.output import NOTHING, table

    def interval(of: dict[str, Any] | None) -> str:
        return NOTHING if of is None else f"{of['mean']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}]"

    first = live["first"]
    columns = ("proposer", "regret", f"{first} less it")
    rows = [(name, interval(regret), interval(live["less"].get(name))) for name, regret in live["regret"].items()]
    out.print(table(columns, rows, right=columns[1:]))
    out.print(
        f"live on {live['table']}: {live['pairs']} campaigns of {live['trials']} trials each, paired; regret: 0 is the "
        "best of the table, 1 its default; [95 %, campaigns drawn anew]",
        soft_wrap=True,
        markup=False,
    )


def _row(name: str, f: dict[str, Any]) -> tuple[object, ...]:
    from cli.terminal.output import NOTHING, percent

    def number(key: str, digits: int = 2) -> str:
        return NOTHING if f[key] is None else f"{f[key]:.{digits}f}"

    nll = number("nll")
    if f["nll_low"] is not None:
        nll += f" [{f['nll_low']:.2f}, {f['nll_high']:.2f}]"
    took = NOTHING if f["latency_s"] is None else f"{1000 * f['latency_s']:.2f} ms"
    return (
        name,
        number("validity"),
        nll,
        number("knob_match"),
        number("exact_match"),
        number("knob_match_samples"),
        number("self_agreement"),
        number("entropy"),
        f"{f['distinct']} of {f['draws']}",
        percent(f["value"]),
        number("value_known"),
        took,
    )
