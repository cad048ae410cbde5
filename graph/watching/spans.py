"""OpenTelemetry spans of our own: where a trial's time went, for whoever looks at traces already.

A trial is one trace: the trial, below it each visit of a node, below that what the node waited for. Ids follow from the
trial, so that one which a kill cut in two is still one trace.

Spans are made after the fact, from the rows that the store gets, and handed to an exporter. There is no tracer and no
tracer provider that a library in this process could find and report to: the SDK stays disabled for all of them
(`rails.bootstrap`), and nobody else's spans leave with ours. An endpoint that does not answer costs the loop nothing
but a note at its end.
"""

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from graph.watching.events import Observer
from memory.records import Span, Trial

TRIAL, WHOLE = "trial", "total"
"""The seconds of a whole trial are those of (trial, total), those of a visit of (node, total); see `Span`."""

APART = frozenset({"finale", "rebaseline"})
"""Nodes whose seconds are the campaign's, beside all trials: they have no visit that they belong to."""


class Tracing:
    """Turns the seconds that the loop notes into spans.

    Args:
        processor: takes the finished spans.
        loop: tells this loop's visits in a trial from those of a loop that was killed in the middle of it.
    """

    def __init__(self, processor: SpanProcessor, loop: str) -> None:
        self._processor, self._loop = processor, loop
        self._resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "nightshift")})
        self._scope = InstrumentationScope("nightshift")
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def ended(self, span: Span, trial: Trial) -> None:
        """Pass on what has ended just now.

        Args:
            span: the seconds.
            trial: its row as it is now.
        """
        end_ns = time.time_ns()
        whole = (span.node, span.part) == (TRIAL, WHOLE)
        own, parent = (TRIAL, None) if whole else self._place(span)
        self._processor.on_end(
            ReadableSpan(
                name=span.node if span.part == WHOLE else f"{span.node} {span.part}",
                context=_context(span.trial_id, own),
                parent=None if parent is None else _context(span.trial_id, parent),
                resource=self._resource,
                instrumentation_scope=self._scope,
                attributes=_outcome(trial) if whole else _names(trial),
                start_time=end_ns - round(1e9 * span.seconds),
                end_time=end_ns,
            )
        )

    def _place(self, span: Span) -> tuple[str, str | None]:
        """What the ids of a span and of its parent follow from. A wait ends before the visit that it is part of."""
        key = span.trial_id, span.node, span.part
        count = self._seen[key]
        self._seen[key] += 1
        own = f"{self._loop} {span.node} {span.part} {count}"
        if span.part == WHOLE:
            return own, TRIAL
        visit = f"{self._loop} {span.node} {WHOLE} {self._seen[span.trial_id, span.node, WHOLE]}"
        return own, None if span.node in APART else visit


class LossCounter(SpanExporter):
    """Passes spans on, and counts those that could not be sent.

    Args:
        exporter: sends them.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`; likewise the others."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self.lost += len(spans)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


@contextmanager
def sending(observer: Observer) -> Generator[Tracing]:
    """Tracing that sends to where the standard variables say, from a thread of its own, while the block runs.

    Args:
        observer: told at the end how many spans could not be sent, if any.
    """
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # it would print into the night's table
    exporter = LossCounter(OTLPSpanExporter())
    processor = BatchSpanProcessor(exporter)
    try:
        yield Tracing(processor, os.urandom(8).hex())
    finally:
        processor.shutdown()
        if exporter.lost:
            observer.note(f"{exporter.lost} spans could not be sent to the OpenTelemetry endpoint")


def _context(trial_id: str, what: str) -> SpanContext:
    trace, span = (hashlib.sha256(text.encode()).digest() for text in (trial_id, f"{trial_id}\0{what}"))
    return SpanContext(
        trace_id=int.from_bytes(trace[:16]),
        span_id=int.from_bytes(span[:8]),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _names(trial: Trial) -> dict[str, str | int | float]:
    return {"nightshift.campaign": trial.campaign_id, "nightshift.trial": trial.seq}


def _outcome(trial: Trial) -> dict[str, str | int | float]:
    """What became of a trial; what is not known is left out."""
    known = {
        "status": None if trial.status is None else str(trial.status),
        "edit": trial.edit_key,
        "proposer": trial.proposer,
        "specialist": trial.specialist,
        "origin": None if trial.origin is None else str(trial.origin),
        "metric": trial.metric,
        "gain": trial.gain,
        "measurements": trial.n_measurements,
        "usd": trial.usd,
    }
    return {**_names(trial), **{f"nightshift.{name}": value for name, value in known.items() if value is not None}}
