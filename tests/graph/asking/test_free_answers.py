"""What a statistical proposer answers is not worth a wait for the disk: after a kill it answers the same again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.watching.events import Observer
from memory.records import Phase, Trial
from memory.store import Store
from tests.support.workspaces import make_quick_workspace, standin_campaign

DEADLY = 2


class Killer(Observer):
    """Ends the process when the second search trial has its answer."""

    def proposed(self, trial: Trial, attempt: int) -> None:
        if trial.seq == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)


def night(root: Path, observer: Observer | None = None) -> list[tuple[int, str | None, str | None]]:
    """Number, edit and status of every trial of a night of three."""
    options = RunOptions(trials=3, proposer="random")
    with standin_campaign(root, observer=observer, options=options) as services:
        Runner(services).run()
        return [(trial.seq, trial.edit_key, trial.status) for trial in services.store.trials(services.campaign_id)]


@pytest.mark.slow
def test_an_answer_that_a_kill_took_back_is_given_again(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    wanted = night(make_quick_workspace(tmp_path / "whole"))
    root = make_quick_workspace(tmp_path / "killed")
    code = (
        "import sys; from pathlib import Path; from tests.graph.asking.test_free_answers import Killer, night; "
        "night(Path(sys.argv[1]), Killer())"
    )
    paths = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", code, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=paths)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        trials = store.trials(store.campaigns()[0].campaign_id)
        assert [trial.seq for trial in trials if trial.phase is Phase.DECIDED] == [0, 1]
        assert len(trials) == DEADLY, "neither the trial nor its answer had to be on the disk"
    assert night(root) == wanted
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        again = store.trials(store.campaigns()[0].campaign_id)
        assert [len(store.calls(trial.trial_id)) for trial in again] == [0, 1, 1, 1]
