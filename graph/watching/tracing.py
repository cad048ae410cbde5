"""Whether the loop sends OpenTelemetry spans: off unless NIGHTSHIFT_OTEL=1 asks for it."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graph.watching.events import Observer
from rails.errors import UserError
from rails.text import quote

if TYPE_CHECKING:
    from graph.watching.spans import Tracing  # loads the SDK, which only who asks for it needs

SWITCH = "NIGHTSHIFT_OTEL"


@contextmanager
def traced(observer: Observer, environment: Mapping[str, str] = os.environ) -> "Generator[Tracing | None]":
    """Tracing while the block runs, if the environment asks for it; None otherwise.

    Where the spans go is said by the standard variables, OTEL_EXPORTER_OTLP_ENDPOINT and its like.

    Args:
        observer: told at the end how many spans could not be sent, if any.
        environment: of the process.

    Raises:
        UserError: it is asked for, and what it needs is not installed; or nobody can tell whether it is.
    """
    if not _asked_for(environment):
        yield None
        return
    try:
        from graph.watching.spans import sending
    except ImportError as error:
        what = f"{SWITCH} is set, and what sends spans is not installed ({error})"
        raise UserError(what, fix=f"pip install 'nightshift[otel]', or unset {SWITCH}") from error
    with sending(observer) as tracing:
        yield tracing


def _asked_for(environment: Mapping[str, str]) -> bool:
    said = environment.get(SWITCH, "")
    if said not in {"", "0", "1"}:
        raise UserError(f"{SWITCH} is {quote(said)}", fix="1 sends OpenTelemetry spans, 0 or nothing does not")
    return said == "1"
