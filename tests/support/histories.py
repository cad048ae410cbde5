"""Random histories of a campaign, to be told step by step: trials open, are decided, and are measured again later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from memory.records import Campaign, Lesson, Measurement, Phase, Trial, TrialKind
from memory.statistics.noise import Noise
from rails.status import FINISHED, Status
from tests.support.proposals import KNOBS, RULES
from tests.support.rows import START, make_campaign, make_measurement, make_trial

VALUES: dict[str, tuple[Any, ...]] = {
    "depth": (1, 2, 4, 8),
    "width": (64, 128, 256),
    "head_dim": (64, 128),
    "matrix_lr": (0.001, 0.01, 0.02, 0.2),
    "window": ("L", "SL", "SSL"),
}
KINDS = {"depth": "int", "width": "int", "head_dim": "int", "matrix_lr": "float", "window": "str"}
DEFAULTS = {name: KNOBS[name]["default"] for name in VALUES}


def history_campaign() -> Campaign:
    """A campaign over the menu of `proposals.py`, with its rule that heads are whole."""
    task = {
        "name": "gpt",
        "metric": {"name": "val_bpb", "direction": "minimize"},
        "keep": {"rule": "threshold", "min_gain": 0.003},
        "menu": {"knobs": KNOBS, "cross_constraints": RULES},
    }
    return make_campaign("history").model_copy(update={"task": task})


CAMPAIGN = history_campaign()


def field_change(name: str, old: Any, new: Any) -> str:
    """Two lines of a unified diff of the knobs class."""
    kind = KINDS[name]
    return f"-    {name}: {kind} = {old!r}  # as it was\n+    {name}: {kind} = {new!r}  # as it was\n"


def code_trial(seq: int, changes: dict[str, tuple[Any, Any]], status: Status = Status.DISCARD, **fields: Any) -> Trial:
    """A trial that changed code, and with it these fields: name to value before and after."""
    diff = "".join(field_change(name, *values) for name, values in changes.items()) + "-    y = 1\n+    y = 2\n"
    edit = {"edit": {"kind": "diff", "diff": diff}, "edit_key": f"diff:{seq:012x}", "diff": diff}
    return decided(seq, status, **{"hypothesis": f"idea {seq}", **edit, **fields})


def knob_trial(seq: int, knob: str, value: Any, status: Status = Status.DISCARD, **fields: Any) -> Trial:
    """A trial that set one knob."""
    edit = {"edit": {"kind": "knob", "knob": knob, "value": value}, "edit_key": f"{knob}={value}"}
    return decided(seq, status, **{**edit, **fields})


def decided(seq: int, status: Status, **fields: Any) -> Trial:
    """A decided trial on the baseline, unless `fields` say otherwise."""
    numbers = {"metric": 1.8, "n_measurements": 1} if status in FINISHED else {}
    row = {
        "phase": Phase.DECIDED,
        "status": status,
        "reason": "r",
        "parent_trial_id": None if seq == 0 else trial_id(0),
    }
    return make_trial(CAMPAIGN, seq, **{**row, **numbers, **fields})


def trial_id(seq: int) -> str:
    """The id that these trials have."""
    return f"{CAMPAIGN.campaign_id}-{seq:05d}"


BASELINE = decided(0, Status.BASELINE, metric=1.8, n_measurements=3)


def interval(gain: float, half: float, p_improve: float | None = None) -> dict[str, Any]:
    """The columns of a gain with its interval."""
    return {"gain": gain, "gain_low": gain - half, "gain_high": gain + half, "p_improve": p_improve}


@dataclass
class Told:
    """Rows in memory where a store would be."""

    trials_: list[Trial]
    lessons_: Sequence[Lesson] = ()
    noise_: Noise = Noise(sd=0.004, df=6)  # noqa: RUF009  # frozen
    campaign_: Campaign = CAMPAIGN

    def campaign(self, campaign_id: str) -> Campaign:
        best = next((t for t in reversed(self.trials_) if t.status is Status.KEEP and t.phase is Phase.DECIDED), None)
        return self.campaign_.model_copy(update={"incumbent_trial_id": best.trial_id if best else None})

    def trials(self, campaign_id: str) -> list[Trial]:
        return list(self.trials_)

    def measurements(self, trial_id: str) -> list[Measurement]:
        found = [trial for trial in self.trials_ if trial.trial_id == trial_id and trial.metric is not None]
        return [make_measurement(t, index, t.metric) for t in found for index in range(t.n_measurements)]

    def lessons(self, campaign_id: str) -> list[Lesson]:
        return list(self.lessons_)

    def noise(self, campaign_id: str) -> Noise:
        return self.noise_


def lesson(trial: Trial, text: str, source: str = "rule") -> Lesson:
    """A line about a trial."""
    return Lesson(trial_id=trial.trial_id, campaign_id=trial.campaign_id, text=text, source=source, created_at=START)


gains = st.floats(-0.05, 0.05).map(lambda gain: round(gain, 4))
statuses = st.sampled_from([*[Status.DISCARD] * 5, *[Status.KEEP] * 2, *sorted(set(Status) - {Status.BASELINE})])


@st.composite
def outcomes(draw: st.DrawFn, seq: int, parents: Sequence[str]) -> Trial:
    """A decided trial: any status, one knob or a diff, on any of `parents`."""
    status = draw(statuses)
    fields: dict[str, Any] = {"parent_trial_id": draw(st.sampled_from(parents))}
    if status in FINISHED:
        measured = interval(draw(gains), draw(st.sampled_from([0.002, 0.02])), draw(st.sampled_from([None, 0.3, 0.8])))
        fields |= {"metric": 1.8, "n_measurements": draw(st.integers(1, 3)), **measured}
    else:
        fields["reason"] = draw(st.sampled_from(["no memory: 9 GB", "no memory: 12 GB", "shapes differ"]))
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True))
    if len(names) == 1 and draw(st.booleans()):
        (name,) = names
        value = draw(st.sampled_from(VALUES[name]))
        change = draw(st.sampled_from([None, field_change(name, DEFAULTS[name], value)]))
        return knob_trial(seq, name, value, status, diff=change, **fields)
    changes = {name: (DEFAULTS[name], draw(st.sampled_from(VALUES[name]))) for name in names}
    return code_trial(seq, changes, status, **fields)


def opened(trial: Trial) -> Trial:
    """The same trial before it is decided."""
    nothing = ("status", "metric", "gain", "gain_low", "gain_high", "p_improve", "reason", "edit", "edit_key", "diff")
    return trial.model_copy(update={"phase": Phase.OPENED, "kind": TrialKind.SEARCH, **dict.fromkeys(nothing)})
