"""Corpora on the command line: a folder that holds one, or any SOURCE, of which one is made on the spot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.distil.build import Recorded
    from studies.distil.corpus import Corpus


def load_recorded(source: str, menu: Path | None) -> "Recorded":
    """One campaign, to make a corpus of.

    Args:
        source: a workspace, one of its campaigns, or a log file.
        menu: a menu file that says what could be changed; None: what the record says.

    Raises:
        UserError: as `cli.inputs.sources.load_records`, or the menu is none.
    """
    from cli.inputs.sources import load_records
    from rails.menu import load_menu
    from studies.distil.build import Recorded

    records, _ = load_records(source)
    stated: dict[str, Any] = records.campaign.task.get("menu") or {}
    start = {}
    if records.campaign.task.get("knobs_from") == "header":
        start = {name: knob["default"] for name, knob in stated["knobs"].items() if "default" in knob}
    return Recorded(source=source, records=records, menu=None if menu is None else load_menu(menu), start=start)


def make_corpus(
    sources: Sequence[str],
    menu: Path | None,
    *,
    holdout: int | None = None,
    held_out: Sequence[str] = (),
    private: bool = False,
) -> "Corpus":
    """A corpus of sources, and of others that are held out as a whole.

    Raises:
        UserError: one of them cannot be read, is there twice, or states no menu; nothing to train on.
    """
    from studies.distil.build import build_corpus
    from studies.distil.splits import DEFAULT_HOLDOUT

    recorded = [load_recorded(source, menu) for source in (*sources, *held_out)]
    whole = range(len(sources), len(recorded))
    return build_corpus(
        recorded, holdout=DEFAULT_HOLDOUT if holdout is None else holdout, held_out=whole, private=private
    )


def find_corpus(source: str, menu: Path | None, holdout: int | None) -> "Corpus":
    """The corpus in a folder; of any other source one is made.

    Raises:
        UserError: there is neither.
    """
    from studies.distil.files import is_corpus, read_corpus

    folder = Path(source).expanduser()
    return read_corpus(folder) if is_corpus(folder) else make_corpus([source], menu, holdout=holdout)
