"""Bars for what takes longer than a moment: on stderr, on a terminal only, and gone afterwards."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Timer

from cli.terminal.output import stderr

AFTER_S = 1.0
"""What is done by then shows no bar."""

Report = Callable[[int, int | None], None]
"""Told how much is done, of how much; None: nobody knows."""


@contextmanager
def progress(what: str, after_s: float = AFTER_S) -> Generator[Report]:
    """Show how far some work is, from a moment after its start on.

    Args:
        what: the work, in a few words.
        after_s: the moment, in seconds.

    Yields:
        What is to be called as the work goes on, from any thread; until then the bar only shows that it does.
    """
    console = stderr()
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what, total=None)
    timer = Timer(after_s, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
