"""The digest that counts on from trial to trial says what counting from nothing says, and what the rows say."""

from collections import Counter
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from memory.keep.near_misses import near_misses
from memory.lineage.block import Lineage, render_lineage
from memory.lineage.digest import Digest, digest_of
from memory.records import Phase, Trial
from memory.statistics.noise import Noise
from rails.status import FINISHED, QUARANTINED, Status
from rails.task import LineageConfig
from tests.support.examples import examples
from tests.support.histories import (
    BASELINE,
    CAMPAIGN,
    Told,
    code_trial,
    field_change,
    interval,
    knob_trial,
    lesson,
    opened,
    outcomes,
    trial_id,
)

STUCK = LineageConfig(max_tokens=100_000, last=5, stuck_after=1)
CALM = LineageConfig(max_tokens=600, last=3, stuck_after=1_000_000)


def digest(*trials: Trial) -> Digest:
    return digest_of(CAMPAIGN, trials)


class Night:
    """Changes its rows as a loop does, and as it never would."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.source = Told([BASELINE])

    def step(self) -> None:
        rows = self.source.trials_
        kinds = ["open", "decide", "decide", "refresh", "refresh", "rewrite", "read again", "roll back"]
        kind = self._data.draw(st.sampled_from(kinds))
        event(kind)
        at = self._data.draw(st.integers(0, len(rows) - 1))
        if kind == "open":
            self.source.trials_ = [*rows, opened(self._outcome(len(rows)))]
        elif kind == "decide":
            waiting = [at for at, trial in enumerate(rows) if trial.phase is not Phase.DECIDED]
            at = waiting[0] if waiting else len(rows)
            self._set(at, self._outcome(at))
        elif kind == "refresh" and rows[at].metric is not None:
            news = {
                "metric": self._data.draw(st.floats(1, 2)),
                "n_measurements": 9,
                "gain": self._data.draw(st.floats(-0.1, 0.1)),
            }
            self._set(at, rows[at].model_copy(update=news))
        elif kind == "rewrite" and at:
            self._set(at, self._outcome(at))
        elif kind == "read again":
            self.source.trials_ = [trial.model_copy() for trial in rows]
        elif kind == "roll back":
            self.source.trials_ = rows[: max(1, len(rows) - 2)]

    def _outcome(self, seq: int) -> Trial:
        kept = [t.trial_id for t in self.source.trials_[:seq] if t.status is Status.KEEP]
        trial = self._data.draw(outcomes(seq, [BASELINE.trial_id, *kept]))
        if self._data.draw(st.booleans()):
            self.source.lessons_ = [*self.source.lessons_, lesson(trial, f"of {seq}", "some-model")]
        return trial

    def _set(self, at: int, trial: Trial) -> None:
        self.source.trials_ = [*self.source.trials_[:at], trial, *self.source.trials_[at + 1 :]]


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
def test_counting_on_equals_counting_from_nothing(data: st.DataObject) -> None:
    night = Night(data)
    lineages = [Lineage(night.source, CAMPAIGN.campaign_id) for _ in range(2)]
    for _ in range(data.draw(st.integers(1, 25))):
        night.step()
        for lineage, config, every in zip(lineages, (STUCK, CALM), (3, 10), strict=True):
            plain = render_lineage(night.source, CAMPAIGN.campaign_id, config, settled_by=every)
            assert lineage.render(config=config, settled_by=every) == plain


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_the_digest_says_what_the_rows_say(data: st.DataObject) -> None:
    """Everything counted once more, the slow and plain way."""
    night = Night(data)
    for _ in range(data.draw(st.integers(1, 30))):
        night.step()
    rows = [t for t in night.source.trials_ if t.phase is Phase.DECIDED and t.status not in QUARANTINED]
    found = digest(*night.source.trials_)
    assert found.trials == rows
    assert found.kept == [t.seq for t in rows if t.status is Status.KEEP]
    assert found.since_keep() == sum(t.seq > max(found.kept, default=0) for t in rows)
    failed = [t for t in rows if t.status not in FINISHED]
    kinds = Counter((t.status, (t.reason or "").replace("12", "9")) for t in failed)
    assert sorted(len(group.trials) for group in found.failures.values()) == sorted(kinds.values())
    for name, record in found.knobs.items():
        single = {(t.edit["value"], t.seq) for t in rows if t.edit and t.edit.get("knob") == name}
        listed = {(value, seq) for value, trials in record.values.items() for seq in trials}
        assert single == {(value, seq) for value, seq in listed if found.trial(seq).edit_key != f"diff:{seq:012x}"}
    for noise in (Noise(sd=None, df=0), Noise(sd=0.0, df=2), Noise(sd=0.02, df=5)):
        plain = near_misses(rows, noise)
        near, count = found.near_misses(noise, 3)
        assert count == len(plain)
        assert [t.seq for t in near] == [miss.trial for miss in plain[:3]]


def test_a_failure_is_told_by_its_newest_reason_and_edits() -> None:
    overrun = Status.TRAIN_BUDGET_OVERRUN
    trials = [knob_trial(seq, "depth", seq, overrun, reason=f"trained {20 + seq}.5 s of 20 s") for seq in range(1, 10)]
    (group,) = digest(*trials, knob_trial(10, "depth", 3, overrun, reason="trained 30.5 s of 20 s")).failures.values()
    edits = "depth=3, depth=9, depth=8, depth=7, depth=6, depth=5, … 3 more"
    assert group.line == f"train_budget_overrun x10: trained 30.5 s of 20 s ({edits})"


def test_what_an_incumbent_changed_follows_from_the_chain() -> None:
    first = knob_trial(1, "depth", 4, Status.KEEP)
    second = code_trial(2, {"matrix_lr": (0.05, 0.01)}, Status.KEEP, parent_trial_id=trial_id(1))
    found = digest(BASELINE, first, second, knob_trial(3, "width", 64, parent_trial_id=trial_id(2)))
    assert found.overlay(trial_id(0)) == {}
    assert found.overlay(trial_id(2)) == {"depth": 4, "matrix_lr": 0.01}
    assert found.overlay(trial_id(3)) is None, "a discarded trial was nobody's incumbent"
    assert found.overlay("unknown") is None
    standing = found.standing(second)
    assert standing is not None
    assert (standing["depth"], standing["matrix_lr"], standing["width"]) == (4, 0.01, 128)
    assert found.start("matrix_lr") == 0.05, "a person's own starting value, which the menu does not know"
    assert [t.seq for t in found.chain(second)] == [2, 1]


def test_what_was_no_incumbent_yet_may_become_one() -> None:
    found = digest(BASELINE)
    assert found.overlay(trial_id(1)) is None
    kept = knob_trial(1, "depth", 4, Status.KEEP)
    found.update([BASELINE, kept])
    assert found.overlay(trial_id(1)) == {"depth": 4}


def test_a_start_is_learned_from_the_first_trial_that_says_it() -> None:
    found = digest(BASELINE)
    assert found.start("matrix_lr") == 0.02, "the menu's default, as long as nothing else is known"
    found.update([BASELINE, code_trial(1, {"matrix_lr": (0.05, 0.01)})])
    assert found.start("matrix_lr") == 0.05


def test_losses_and_bad_values_follow_the_rows() -> None:
    found = digest(BASELINE, knob_trial(1, "depth", 4, **interval(-0.02, 0.005)))
    record = found.knobs["depth"]
    assert [(value, trial.seq) for value, trial in record.losses] == [(4, 1)]
    assert record.bad_values == [4]
    found.update([*found.trials, knob_trial(2, "depth", 8, Status.CRASH), knob_trial(3, "depth", 1, gain=0.01)])
    assert (len(record.losses), sorted(map(int, record.bad_values))) == (1, [4, 8])
    assert (record.bad_reach, record.numbers) == ((4, 8), [1, 4, 8])
    found.update([*found.trials, knob_trial(4, "window", "long", Status.CRASH)])
    assert (found.knobs["window"].bad_reach, found.knobs["window"].numbers) == (None, [])


def test_a_chain_that_cannot_be_followed_ends() -> None:
    loop = knob_trial(1, "depth", 4, Status.KEEP, parent_trial_id=trial_id(2))
    other = knob_trial(2, "depth", 8, Status.KEEP, parent_trial_id=trial_id(1))
    found = digest(BASELINE, loop, other)
    assert found.overlay(trial_id(1)) is None
    assert found.standing(other) is None
    assert [t.seq for t in found.chain(other)] == [2, 1]


def test_fields_of_code_count_as_knobs_only_on_the_menu_and_only_when_changed() -> None:
    diff = (
        field_change("depth", 2, 4)
        + field_change("width", 128, 128)
        + "-    hidden: int = 3\n+    hidden: int = 4\n"
        + field_change("matrix_lr", 0.02, 0.1)
        + field_change("matrix_lr", 0.3, 0.4)
        + "-    head_dim: int = f(3)\n+    head_dim: int = 128\n-    window: str = 'L'\n"
    )
    trial = code_trial(1, {}, **interval(0.01, 0.02)).model_copy(update={"diff": diff})
    assert {name: list(record.values) for name, record in digest(BASELINE, trial).knobs.items()} == {"depth": [4]}


def test_values_are_told_best_first_and_all_are_accounted_for() -> None:
    trials: list[Trial] = [
        knob_trial(1, "depth", 4, Status.KEEP, gain=0.001),
        knob_trial(2, "depth", 4, gain=-0.02),
        knob_trial(3, "depth", 8, gain=0.002),
        knob_trial(4, "depth", 12, Status.CRASH),
        code_trial(5, {"depth": (2, 1)}, gain=-0.01),
    ]
    line = digest(BASELINE, *trials).knobs["depth"].line
    assert line == "depth: 4 keep +0.10 % x2, 8 discard +0.20 %, 1 discard -1.00 % in a diff, 12 crash"
    many: list[Any] = [knob_trial(seq, "matrix_lr", seq / 1000, gain=-seq / 1000) for seq in range(1, 20)]
    failed = knob_trial(20, "matrix_lr", 0.2, Status.CRASH)
    line = digest(BASELINE, *many, failed).knobs["matrix_lr"].line
    assert line.startswith("matrix_lr: 0.001 discard -0.10 %, 0.002 discard")
    assert line.endswith("0.008 discard -0.80 %, … 12 worse from 0.009 to 0.2 (1 failed)")
