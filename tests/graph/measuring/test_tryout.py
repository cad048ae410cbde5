"""New code is tried out before it is trained: what it crashes of goes back to whoever proposed it."""

from pathlib import Path

import pytest

from agents.base import ProposalContext
from agents.scripted import ScriptedProposer, ScriptedReply
from graph.campaign.options import RunOptions
from graph.runner import Runner
from memory.records import Measurement, MeasurementState, Span, Trial
from rails.status import Status
from tests.support.workspaces import code, make_quick_workspace, standin_campaign

BROKEN = code("model.learn(inputs", "model.learns(inputs")
WORKING = code("smoothing: float = 4.0", "smoothing: float = 2.0")
KNOB = '{"knob": "smoothing", "new_value": 1.0, "reason": "because"}'


def run(root: Path, script: list[ScriptedReply], trials: int = 1) -> tuple[list[Trial], list[Measurement], list[Span]]:
    """The trials, the measurements of the last one, and the spans of all that waited for something."""
    proposer, spans = ScriptedProposer(script, repairs_crashes=True), list[Span]()
    with standin_campaign(root, proposer=proposer, options=RunOptions(trials=trials)) as services:
        add = services.store.add_spans

        def keep(found: list[Span]) -> None:
            spans.extend(found)
            add(found)

        services.store.add_spans = keep  # type: ignore[method-assign, assignment]
        Runner(services).run()
        done = services.store.trials(services.campaign_id)
        return done, services.store.measurements(done[-1].trial_id), spans


def test_a_crash_of_the_tryout_goes_back_with_its_traceback_until_it_is_repaired(tmp_path: Path) -> None:
    crashes: list[str | None] = []

    def again(context: ProposalContext) -> str:
        crashes.append(context.crash)
        return BROKEN if len(crashes) < 2 else WORKING

    (_, trial), measurements, spans = run(make_quick_workspace(tmp_path), [BROKEN, again, again])
    assert all("AttributeError" in str(crash) and "model.learns(inputs" in str(crash) for crash in crashes)
    assert (trial.repairs, trial.attempt) == (2, 2)
    assert trial.status in {Status.KEEP, Status.DISCARD}
    failed, measured = MeasurementState.FAILED, MeasurementState.MEASURED
    assert [m.state for m in measurements] == [failed, failed, measured]
    assert [m.status for m in measurements] == [Status.PREFLIGHT_CRASH, Status.PREFLIGHT_CRASH, None]
    waits = [span.part for span in spans if span.trial_id == trial.trial_id and span.node == "train"]
    assert [part for part in waits if part != "total"] == ["tryout", "tryout", "tryout", "startup", "train"]


@pytest.mark.system
def test_what_is_not_repaired_is_a_preflight_crash(tmp_path: Path) -> None:
    (_, trial), measurements, _ = run(make_quick_workspace(tmp_path), [BROKEN] * 4)
    assert (trial.status, trial.metric, trial.repairs, len(measurements)) == (Status.PREFLIGHT_CRASH, None, 3, 4)
    assert "AttributeError" in str(trial.reason)


@pytest.mark.system
def test_a_value_of_a_knob_is_not_tried_out(tmp_path: Path) -> None:
    _, _, spans = run(make_quick_workspace(tmp_path), [KNOB])
    assert "tryout" not in {span.part for span in spans}
