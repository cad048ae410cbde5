"""OpenTelemetry spans: those of our loop, as a tree for each trial; nobody else's; and none unless asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from graph.campaign.open import open_campaign
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.watching.events import Observer
from graph.watching.spans import LossCounter, Tracing
from graph.watching.tracing import traced
from memory.records import Span
from rails.errors import UserError
from tests.support.nights import Endpoint, Listener, rows
from tests.support.rows import make_campaign, make_trial
from tests.support.workspaces import make_quick_workspace

TRIAL = make_trial(make_campaign(), 3, edit_key="lr=0.1", specialist="schedule")


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    made = InMemorySpanExporter()
    yield made
    made.shutdown()


def tell(tracing: Tracing, *spans: tuple[str, str, float]) -> None:
    for node, part, seconds in spans:
        tracing.ended(Span(trial_id=TRIAL.trial_id, node=node, part=part, seconds=seconds), TRIAL)


def parents(spans: tuple[ReadableSpan, ...]) -> dict[str, str | None]:
    names = {span.context.span_id: span.name for span in spans if span.context is not None}
    assert len(names) == len(spans), "ids are unique"
    return {span.name: None if span.parent is None else names[span.parent.span_id] for span in spans}


def test_a_trial_is_one_tree_with_durations(exporter: InMemorySpanExporter) -> None:
    tracing = Tracing(SimpleSpanProcessor(exporter), "loop")
    tell(tracing, ("propose", "proposer", 2.0), ("propose", "total", 2.5), ("train", "train", 5.0))
    tell(tracing, ("train", "total", 5.5), ("trial", "total", 9.0))
    spans = exporter.get_finished_spans()
    assert parents(spans) == {
        "propose proposer": "propose", "propose": "trial", "train train": "train", "train": "trial", "trial": None,
    }  # fmt: skip
    assert len({span.context.trace_id for span in spans if span.context is not None}) == 1
    root = spans[-1]
    assert root.start_time is not None and root.end_time is not None
    assert root.end_time - root.start_time == 9_000_000_000
    assert dict(root.attributes or {}) == {
        "nightshift.campaign": TRIAL.campaign_id,
        "nightshift.trial": 3,
        "nightshift.edit": "lr=0.1",
        "nightshift.specialist": "schedule",
        "nightshift.measurements": 0,
    }


def test_a_trial_that_a_kill_cut_in_two_is_one_trace(exporter: InMemorySpanExporter) -> None:
    tell(Tracing(SimpleSpanProcessor(exporter), "first"), ("propose", "total", 1.0))
    tell(Tracing(SimpleSpanProcessor(exporter), "second"), ("propose", "total", 0.1), ("trial", "total", 9.0))
    before, after, root = exporter.get_finished_spans()
    assert before.context is not None and after.context is not None and root.context is not None
    assert before.context.span_id != after.context.span_id
    assert before.parent == after.parent == root.context


def test_what_is_measured_beside_the_trials_stands_alone(exporter: InMemorySpanExporter) -> None:
    tell(Tracing(SimpleSpanProcessor(exporter), "loop"), ("finale", "finale_train", 4.0))
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.parent) == ("finale finale_train", None)


def test_a_night_sends_its_own_spans_and_nobody_elses(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    """Rails (guardrails) and the graph (langgraph, langsmith) run in it: none of them finds a provider to report to."""
    root = make_quick_workspace(tmp_path)
    with open_campaign(root, RunOptions(trials=1), Observer(), Endpoint(rows(4))) as services:
        services.tracing = Tracing(SimpleSpanProcessor(exporter), "loop")
        Runner(services).run()
        stored = sum(len(services.store.spans(t.trial_id)) for t in services.store.trials(services.campaign_id))
    spans = exporter.get_finished_spans()
    assert len(spans) == stored
    assert {s.instrumentation_scope.name for s in spans if s.instrumentation_scope is not None} == {"nightshift"}
    with trace.get_tracer("somebody else").start_as_current_span("theirs"):
        pass
    assert len(exporter.get_finished_spans()) == stored
    assert os.environ["OTEL_SDK_DISABLED"] == "true"


@pytest.mark.parametrize("said", [{}, {"NIGHTSHIFT_OTEL": "0"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_being_asked_there_is_none(said: dict[str, str]) -> None:
    with traced(Observer(), said) as tracing:
        assert tracing is None


def test_a_switch_that_says_neither_is_refused() -> None:
    with pytest.raises(UserError, match="NIGHTSHIFT_OTEL is 'yes'"), traced(Observer(), {"NIGHTSHIFT_OTEL": "yes"}):
        pass


class Refusing(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.FAILURE


def test_what_could_not_be_sent_is_counted() -> None:
    counter = LossCounter(Refusing())
    tell(Tracing(SimpleSpanProcessor(counter), "loop"), ("propose", "total", 1.0), ("trial", "total", 2.0))
    assert counter.lost == 2


@pytest.mark.system
def test_an_endpoint_that_is_not_there_costs_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    listener = Listener()
    with traced(listener, {"NIGHTSHIFT_OTEL": "1"}) as tracing:
        assert tracing is not None
        tell(tracing, ("propose", "total", 1.0))
    assert listener.notes == ["1 spans could not be sent to the OpenTelemetry endpoint"]
