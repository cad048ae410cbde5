"""`nightshift distill`: a corpus of recorded choices, a student trained on it, and its promotion."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from agents.local.card import StudentCard
    from studies.distil.language.recipe import LanguageObjective

distil_app = typer.Typer(help="Distil a proposer from recorded campaigns.", no_args_is_help=True)

MenuOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Menu file: what could be changed.", show_default="the record's own")
]
HoldoutOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Hold out the last N trials of each campaign; of a short one at most a quarter.",
        show_default="8",
    ),
]
STUDENT_HELP = "A student's folder, or the name of a promoted one."


class ObjectiveName(StrEnum):
    """What training makes more likely."""

    LISTWISE = "listwise"
    ADVANTAGE = "advantage"
    TOKENS = "tokens"
    CLONE = "clone"


@distil_app.callback()
def _group() -> None:
    """Distil a proposer from recorded campaigns."""


@distil_app.command()
def corpus(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Workspaces, campaigns (DIR@TAG), or log files.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    menu: MenuOption = None,
    holdout: HoldoutOption = None,
    held_out: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="A campaign to hold out as a whole; may be repeated.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Leave program.md in the prompts that hold it.", show_default=False)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a corpus. Every decided trial with what could be chosen then, what was chosen, and what it brought.

    The last trials of each campaign are held out: nothing that is trained on comes after them.
    """
    from cli.inputs.corpora import make_corpus
    from cli.terminal.output import print_json, stdout
    from studies.distil.files import write_corpus

    made = make_corpus(sources, menu, holdout=holdout, held_out=held_out or (), private=private)
    card = write_corpus(out.expanduser(), made)
    if json:
        print_json({"corpus": str(out), **card})
        return
    from cli.terminal.output import table

    console = stdout()
    console.print(table(("", ""), _card_rows(card)))
    for warning in card["warnings"]:
        console.print(f"warning: {warning}", soft_wrap=True, markup=False)


def _card_rows(card: dict[str, Any]) -> list[tuple[str, Any]]:
    keeps = ", ".join(f"{top['knob']}={top['value']} ×{top['count']}" for top in card["top_keeps"][:5])
    tops = ", ".join(f"{top['knob']}={top['value']} ×{top['count']}" for top in card["top_targets"][:5])
    prompts = ", ".join(f"{count} {how}" for how, count in card["prompts"].items())
    return [
        ("campaigns", ", ".join(f"{one['source']} ({one['baseline']} baseline)" for one in card["campaigns"])),
        ("to train on", f"{card['train']} trials, {card['train_keeps']} kept, {card['targets']} of them targets"),
        ("held out", f"{card['heldout']} trials, {card['heldout_keeps']} kept, {card['heldout_targets']} targets"),
        ("options", f"{card['options_mean']:.0f} on average"),
        ("targets", f"{card['targets_distinct']} different, entropy {card['target_entropy']:.2f} nats"),
        ("most chosen", tops or "none"),
        ("most kept", keeps or "none"),
        ("no-ops", f"{card['no_ops']}; {card['no_ops_if_rolled']}, had kept changes stayed in"),
        ("prompts", prompts),
        ("never touched", ", ".join(card["untouched"]) or "none"),
    ]


@distil_app.command()
def train(
    corpus: Annotated[Path, typer.Option(metavar="DIR", help="A corpus, as `distill corpus` wrote it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the student.")],
    base: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="embedded: a small network of our own; else a language model that gets an adapter: smollm2, a GGUF "
            "file, a folder, or owner/model on the Hugging Face Hub. Needs the extra distil.",
        ),
    ] = "embedded",
    objective: Annotated[
        ObjectiveName | None,
        typer.Option(
            help="listwise: the choice among all legal options; advantage: the same, and what brought more counts "
            "more; tokens: the text of the choice; clone: embedded's name for listwise.",
            show_default="advantage for embedded, else listwise",
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="STUDENT", help=f"Go on from this one. {STUDENT_HELP}", show_default="none")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For weights and order.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a student on a corpus. Early stopping looks at a part of the training rows, never at what is held out.

    A language model's training that was killed goes on after the last epoch that was done, when it is started again
    with the same options.
    """
    from cli.terminal.output import print_json, stdout

    card = _trained(corpus.expanduser(), out.expanduser(), base, objective, parent=parent, seed=seed)
    if json:
        print_json({"adapter": str(out), "base": card.base, "metrics": card.metrics})
        return
    metrics = card.metrics
    stdout().print(
        f"{out}: {metrics['parameters']} parameters trained on {metrics['rows']} choices in "
        f"{metrics['train_s']:.1f} s, loss {metrics['validation_loss']:.3f} on {metrics['validation_rows']} others "
        f"(epoch {metrics['best_epoch']} of {metrics['epochs']})",
        soft_wrap=True,
        markup=False,
    )


EMBEDDED_OBJECTIVES = ("advantage", "clone")
LANGUAGE_OBJECTIVES = ("listwise", "advantage", "tokens")


def _trained(
    corpus: Path, out: Path, base: str, objective: ObjectiveName | None, *, parent: str | None, seed: int
) -> "StudentCard":
    """The student of a base, trained and written."""
    from agents.local.card import EMBEDDED
    from agents.local.language_base import is_language_base
    from cli.terminal.progress import progress
    from rails.errors import UserError
    from rails.text import quote
    from studies.distil.embedded import train_student
    from studies.distil.files import read_corpus
    from studies.distil.language.recipe import LanguageRecipe
    from studies.distil.language.students import train_language_student
    from studies.distil.train import Recipe

    if base != EMBEDDED and not is_language_base(base):
        fix = "use `embedded`, smollm2, a GGUF file, a model's folder, or owner/model on the Hugging Face Hub"
        raise UserError(f"there is no base {quote(base)} to train", where="--base", fix=fix)
    known = EMBEDDED_OBJECTIVES if base == EMBEDDED else LANGUAGE_OBJECTIVES
    named = known[0] if objective is None else objective.value
    if named not in known:
        what = f"the objective {named} is not one for the base {base}"
        raise UserError(what, where="--objective", fix=f"use {' or '.join(known)}")
    if base == EMBEDDED:
        recipe = Recipe(objective="clone" if named == "clone" else "advantage", seed=seed)
        return train_student(read_corpus(corpus), out, recipe, parent=parent)
    objectives: dict[str, LanguageObjective] = {name: name for name in LANGUAGE_OBJECTIVES}
    with progress("training") as report:
        return train_language_student(
            read_corpus(corpus),
            out,
            base,
            LanguageRecipe(objective=objectives[named], seed=seed),
            parent=parent,
            report=report,
        )


@distil_app.command()
def promote(  # noqa: PLR0913, PLR0917  # a command's parameters are its options
    student: Annotated[str, typer.Argument(metavar="STUDENT", help=STUDENT_HELP)],
    name: Annotated[str, typer.Option(help="The name to give it: `--proposer student:NAME`.")],
    on: Annotated[str, typer.Option(metavar="SOURCE", help="A corpus whose held-out choices are raced on.")],
    menu: MenuOption = None,
    holdout: HoldoutOption = None,
    live: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Result of a live race against its teacher, as JSON.", show_default="none"),
    ] = None,
    replay_only: Annotated[
        bool, typer.Option("--replay-only", help="Do without a live race.", show_default=False)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Give a student a name, if it passes the gates. Else say which failed, and by how much.

    Gates: all its proposals are valid; it predicts held-out choices better than counts alone do; in a live race its
    regret is not more than 0.02 above its teacher's, at the upper end of the interval.
    """
    from agents.local.shelf import find_student, put_student
    from agents.local.student import load_student
    from cli.inputs.corpora import find_corpus
    from cli.terminal.output import print_json, stdout
    from studies.distil.promotion import judge, live_gate, read_live, replay_gates
    from studies.distil.race import race
    from studies.distil.racers import DistributionRacer

    folder = find_student(_as_folder(student))
    loaded = load_student(folder)
    raced = race(find_corpus(on, menu, holdout), [DistributionRacer("student", loaded.scorer, loaded.card.temperature)])
    gates = replay_gates(raced["proposers"], "student")
    gates.append(live_gate(None if live is None else read_live(live.expanduser())))
    passed = [gate.as_dict() for gate in judge(gates, replay_only=replay_only)]
    place, card = put_student(folder, name, passed)
    if json:
        metrics = {**card.metrics, "race": raced["proposers"]["student"]}
        print_json({"adapter": str(place), "name": name, "gates": passed, "metrics": metrics})
        return
    console = stdout()
    for gate in gates:
        console.print(
            f"{'passed' if gate.passed else 'waived'}: {gate.name}: {gate.says}", soft_wrap=True, markup=False
        )
    console.print(f"promoted: nightshift run DIR --proposer student:{name}", soft_wrap=True, markup=False)


@distil_app.command()
def export(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help=STUDENT_HELP)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The GGUF file to write.")],
    json: JsonOption = False,
) -> None:
    """Write a language model's adapter as one GGUF file, for llama.cpp beside the base's (`--lora FILE`)."""
    from agents.local.shelf import find_student
    from cli.terminal.output import print_json, stdout
    from studies.distil.language.export import export_gguf

    maps = export_gguf(find_student(_as_folder(student)), out.expanduser())
    if json:
        print_json({"file": str(out), "maps": maps})
        return
    stdout().print(f"{out}: {maps} maps; llama-server -m BASE.gguf --lora {out}", soft_wrap=True, markup=False)


def _as_folder(student: str) -> str:
    """A folder that is named without a slash, as a folder."""
    return f"./{student}" if "/" not in student and Path(student).is_dir() else student


@distil_app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the students that were promoted, with what they were trained on and the gates they passed."""
    from agents.local.card import read_card
    from agents.local.shelf import student_names, students_home
    from cli.terminal.output import print_json, stdout, table

    cards = {name: read_card(students_home() / name) for name in student_names()}
    if json:
        print_json({"students": {name: card.model_dump(mode="json") for name, card in cards.items()}})
        return
    rows = [
        (
            f"student:{name}",
            card.base,
            card.parent,
            card.corpus_sha256[:12],
            card.metrics.get("rows"),
            _gates(card.gates),
        )
        for name, card in cards.items()
    ]
    stdout().print(table(("name", "base", "parent", "corpus", "rows", "gates"), rows, right=("rows",)))


def _gates(gates: list[dict[str, Any]]) -> str:
    return ", ".join(f"{gate['name']} {'passed' if gate['passed'] else 'not run'}" for gate in gates) or "none"
