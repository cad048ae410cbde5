"""A kept program that is found to cheat when the result is measured: its keep is undone, on record and in git."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.scripted import ScriptedProposer
from cli.show.status import result_lines
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.git.ratchet import Ratchet
from memory.lineage.block import Lineage
from memory.records import Campaign, EventKind, MeasurementState, Purpose, Trial
from rails.errors import HaltError, TrialError
from rails.status import Status
from tests.support.command import nightshift
from tests.support.git_workspace import git
from tests.support.variants import first, firsts
from tests.support.workspaces import make_quick_workspace, standin_campaign
from tools.gpt import TrainedModel


def knob(name: str, value: float) -> str:
    return json.dumps({"knob": name, "new_value": value, "reason": "more"})


KEPT, CHEAT, WORSE = knob("rows", 16), knob("rows", 32), knob("bigram_weight", 0.0)
SCRIPT = [KEPT, CHEAT, WORSE]
OPTIONS = RunOptions(trials=3, tag="night")


class Watching(Observer):
    """Notes what is measured for the result."""

    def __init__(self) -> None:
        self.order = list[tuple[int, int]]()
        self.undone = list[tuple[int, int]]()

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        self.order.append((target.seq, seed_index))

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        self.undone.append((trial.seq, incumbent.seq))


@contextmanager
def night(root: Path, cheats: set[int], script: list[str], options: RunOptions = OPTIONS) -> Generator[Services]:
    """A campaign in which the programs of some trials are found to cheat on the test text."""
    watching = Watching()
    with standin_campaign(root, proposer=ScriptedProposer(script), observer=watching, options=options) as services:
        score_test: Callable[[TrainedModel], Any] = services.trainer.score_test

        def caught(model: TrainedModel, *more: Any) -> Any:
            if watching.order[-1][0] in cheats:
                raise TrialError(Status.DISQUALIFIED, "it looks at the next token")
            return score_test(model, *more)

        services.trainer.score_test = caught
        yield services


def run(root: Path, cheats: set[int], script: list[str] | None = None) -> tuple[Campaign, list[Trial], Watching]:
    with night(root, cheats, SCRIPT if script is None else script) as services:
        campaign = Runner(services).run()
        watching = services.observer
        assert isinstance(watching, Watching)
        return campaign, services.store.trials(campaign.campaign_id), watching


@pytest.mark.system
def test_incumbent_and_branch_return_to_the_keep_before(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=2)
    with night(root, {2}, SCRIPT) as services:
        campaign = Runner(services).run()
        store, watching = services.store, services.observer
        trials = store.trials(campaign.campaign_id)
        events = [e for e in store.events(campaign.campaign_id) if e.kind is EventKind.KEEP_UNDONE]
        lessons = {lesson.trial_id: lesson for lesson in store.lessons(campaign.campaign_id)}
        finals = [m for m in store.campaign_measurements(campaign.campaign_id) if m.purpose is Purpose.FINAL]
        block = Lineage(store, campaign.campaign_id).render()
    assert [t.status for t in trials] == [Status.BASELINE, Status.KEEP, Status.DISQUALIFIED, Status.DISCARD]
    cheat, kept = trials[2], trials[1]
    assert (cheat.metric, cheat.gain, cheat.n_measurements) == (None, None, 0)
    assert "seed 1000: it looks at the next token" in str(cheat.reason)
    assert cheat.decision and cheat.decision["action"] == "keep", "why it was kept stays on record"
    assert trials[3].parent_trial_id == cheat.trial_id, "what was decided on top of it stays as it is"
    assert "was disqualified" in lessons[cheat.trial_id].text and lessons[cheat.trial_id].text == cheat.lesson
    assert (campaign.incumbent_trial_id, campaign.head_commit) == (kept.trial_id, kept.commit_sha)
    # The baseline is measured first of all, and only once with each seed.
    assert isinstance(watching, Watching)
    assert watching.order == [(0, 1000), (2, 1000), (1, 1000), (1, 1001), (0, 1001)]
    assert watching.undone == [(2, 1)]
    final = campaign.final
    assert final is not None
    assert (final["state"], final["incumbent"], final["n"]) == ("done", 1, 2)
    assert final["disqualified"] == [{"trial": 2, "reason": cheat.reason}]
    assert final["test_looks"] == len(finals) == 5
    assert len(events) == 1 and "the branch is back at the keep before it, trial 1" in events[0].text
    # Git follows.
    assert git(root, "rev-parse", "autoresearch/night").strip() == kept.commit_sha
    assert git(root, "status", "--porcelain").split() in ([], ["M", "results.tsv"])
    assert "rows: int = 16" in (root / "train.py").read_text()
    assert [row.split("\t")[3] for row in (root / "results.tsv").read_text().splitlines()[1:]] == [
        "baseline", "keep", "disqualified", "discard",
    ]  # fmt: skip
    assert "disqualified" in block


@pytest.mark.system
def test_down_to_the_baseline_there_is_no_result_and_it_says_why(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    campaign, trials, watching = run(root, {1, 2})
    assert watching.undone == [(2, 1), (1, 0)]
    assert watching.order == [(0, 1000), (2, 1000), (1, 1000)]
    assert [t.status for t in trials[1:3]] == [Status.DISQUALIFIED] * 2
    assert (campaign.incumbent_trial_id, campaign.head_commit) == (trials[0].trial_id, campaign.baseline_commit)
    assert git(root, "rev-parse", "autoresearch/night").strip() == campaign.baseline_commit
    final = campaign.final
    assert final is not None
    assert (final["state"], final["incumbent"], final["val"], final["test"]) == ("failed", None, None, None)
    assert [row["trial"] for row in final["disqualified"]] == [1, 2]
    told = result_lines(final)
    assert told[0] == "result: none, everything that was kept was disqualified when it was measured again"
    assert any("trial 2 was disqualified" in line and "it looks at the next token" in line for line in told)


@pytest.mark.system
def test_a_baseline_that_is_disqualified_leaves_nothing_to_return_to(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=2)
    campaign, trials, watching = run(root, {0})
    assert watching.order == [(0, 1000)]
    assert trials[2].status is Status.KEEP
    final = campaign.final
    assert final is not None
    assert (final["state"], final["val"], final["disqualified"]) == ("failed", None, [])
    assert "the baseline itself was disqualified: there is nothing to compare with" in final["failures"][-1]
    assert any("nothing to return to" in line for line in result_lines(final))


@pytest.mark.slow
@pytest.mark.parametrize("where", first(2, ["undone on record", "branch is back", "files are back", "projected"]))
def test_a_loop_killed_in_between_goes_on_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place, after = {
        "undone on record": ("take_back", False),
        "files are back": ("_move", False),
        "branch is back": ("take_back", True),
        "projected": ("project", True),
    }[where]
    root = make_quick_workspace(tmp_path, final_seeds=1)
    undisturbed, _, _ = run(make_quick_workspace(tmp_path / "undisturbed", final_seeds=1), {2})
    with pytest.raises(KeyboardInterrupt), night(root, {2}, SCRIPT) as services:
        take_back = Ratchet.take_back

        def armed(self: Ratchet, kept: str, before: str) -> list[str]:
            if place == "take_back" and not after:
                killed()
            if place == "_move":
                monkeypatch.setattr(Ratchet, "_move", killed)
            if place == "project":
                monkeypatch.setattr(Ratchet, "project", killed)
            skipped = take_back(self, kept, before)
            if place == "take_back":
                killed()
            return skipped

        monkeypatch.setattr(Ratchet, "take_back", armed)
        Runner(services).run()
    monkeypatch.undo()
    campaign, trials, watching = run(root, {2}, [])
    assert watching.order == [(1, 1000)], "what is measured stays measured"
    assert trials[2].status is Status.DISQUALIFIED
    assert campaign.final == undisturbed.final
    assert git(root, "rev-parse", "autoresearch/night").strip() == trials[1].commit_sha
    assert "rows: int = 16" in (root / "train.py").read_text()
    assert git(root, "for-each-ref", "refs/nightshift").strip() == ""


@pytest.mark.system
def test_a_branch_that_a_person_moved_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    take_back = Ratchet.take_back

    def moved(self: Ratchet, kept: str, before: str) -> list[str]:
        git(root, "commit", "--quiet", "--allow-empty", "-m", "mine")
        return take_back(self, kept, before)

    monkeypatch.setattr(Ratchet, "take_back", moved)
    with pytest.raises(HaltError, match="somebody moved the campaign's branch"):
        run(root, {2})
    monkeypatch.undo()
    with pytest.raises(HaltError, match="somebody moved the campaign's branch"):
        run(root, {2}, [])
    assert git(root, "log", "-1", "--format=%s", "autoresearch/night").strip() == "mine"


@pytest.mark.system
def test_what_was_to_stand_on_it_is_not_gone_on_with(tmp_path: Path) -> None:
    """A proposer that has no more to say leaves its trial open, on top of what is undone then."""
    campaign, trials, _ = run(make_quick_workspace(tmp_path, final_seeds=1), {2}, [KEPT, CHEAT])
    assert campaign.final is not None and campaign.final["incumbent"] == 1
    assert (trials[3].parent_trial_id, trials[3].status) == (trials[2].trial_id, Status.INTERRUPTED)
    assert "that of trial 2, was disqualified" in str(trials[3].reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cheats", "said"), firsts(1, [({1, 2}, "What was kept was disqual"), ({2}, " over the baseline, ")])
)
def test_status_and_report_say_so(tmp_path: Path, cheats: set[int], said: str) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    run(root, cheats)
    assert nightshift("report", root).code == 0
    page = (root / ".nightshift" / "report.html").read_text()
    assert said in page
    assert "Trial 2 was kept in the search, and disqualified when the result was measured" in page
    assert "had been scored 3 times by then, over all campaigns in this store" in page
    assert "disqualified, its keep undone" in page, "in the tree, with what was tried on top of it"
    told = nightshift("status", root).out
    assert "trial 2 was disqualified, its keep undone: found when the result was measured, with seed 1000" in told
    assert "scored 3 times so far" in told
    shown = nightshift("show", root, 2).out
    assert "trial 2: disqualified" in shown and "until its keep was undone" in shown


@pytest.mark.system
def test_an_incumbent_found_out_in_the_search_is_none_any_more(tmp_path: Path) -> None:
    """As when it is measured again on behalf of a candidate: the next trial stands on the keep before."""

    class Finding(Watching):
        """Has the first keep measured once more, and found out."""

        def decided(self, trial: Trial) -> None:
            if trial.seq == 1:
                (known,) = services.store.measurements(trial.trial_id)
                news = {"measurement_id": "again", "seed_index": 1, "score": None, "total_nats": None}
                again = known.model_copy(update={**news, "state": MeasurementState.RUNNING})
                services.store.open_measurement(again)
                cheats = {"state": MeasurementState.FAILED, "status": Status.DISQUALIFIED, "reason": "it looks ahead"}
                services.store.finish_measurement(again.model_copy(update=cheats), None)

    root, watching = make_quick_workspace(tmp_path), Finding()
    proposer = ScriptedProposer([KEPT, WORSE, CHEAT])
    with standin_campaign(root, proposer=proposer, observer=watching, options=OPTIONS) as services:
        campaign = Runner(services).run()
        trials = services.store.trials(campaign.campaign_id)
    assert [t.status for t in trials] == [Status.BASELINE, Status.DISQUALIFIED, Status.DISCARD, Status.KEEP]
    assert trials[1].reason == "found when it was measured again, with seed 1: it looks ahead"
    assert watching.undone == [(1, 0)]
    assert (trials[2].parent_trial_id, trials[2].parent_commit) == (trials[0].trial_id, campaign.baseline_commit)
    assert trials[3].commit_sha == campaign.head_commit
    assert trials[1].commit_sha not in git(root, "rev-list", "autoresearch/night").split()
