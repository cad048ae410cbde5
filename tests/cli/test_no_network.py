"""A whole campaign opens no connection and looks up no name: not the loop, not guardrails, not a trial process."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import argv, nightshift
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace

IN_A_TRIAL = """
import os as _os, sys as _sys
_sys.addaudithook(lambda event, args: _os._exit(99) if event.startswith(("socket.getaddr", "socket.connect")) else None)
"""
"""It cannot write our log from its sandbox: it dies instead."""
AUDIT = """
import os, socket, sys
LOG = {log!r}
def _audit(event, args):
    if event.startswith("socket.getaddrinfo") or event.startswith("socket.gethostby") or (
        event in ("socket.connect", "socket.sendto", "socket.sendmsg") and args[0].family != socket.AF_UNIX
    ):
        with open(LOG, "a") as file:
            file.write(f"{{os.getpid()}} {{event}} {{args[1:]}}\\n")
sys.addaudithook(_audit)
with open(LOG + ".started", "a") as file:
    file.write(f"{{os.getpid()}} {{' '.join(sys.argv)}}\\n")
"""


@pytest.mark.system
@pytest.mark.parametrize("trials", first(1, [1, 3]))
def test_a_whole_campaign_opens_no_connection(tmp_path: Path, trials: int) -> None:
    log = tmp_path / "network.log"
    hook = AUDIT.format(log=str(log))
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
    workspace = tmp_path / "w"
    honest = (Path(__file__).parents[1] / "support" / "standin_train.py").read_text().split('"""', 2)[2]
    source = IN_A_TRIAL + honest.replace("session.finish({", 'session.finish({"watched": True, ')
    root = make_quick_workspace(workspace, source=source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hook"), "LANGSMITH_API_KEY": "set-by-somebody"}
    for name in ("OTEL_SDK_DISABLED", "LITELLM_LOCAL_MODEL_COST_MAP", "LANGSMITH_TRACING", "DO_NOT_TRACK"):
        environment.pop(name, None)
    done = subprocess.run(
        argv("run", root, "--proposer", "tpe", "--trials", trials),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    started = (tmp_path / "network.log.started").read_text()
    assert " -m run " in started
    found = nightshift("query", root, "SELECT status, summary FROM measurements", "--json").document["rows"]
    assert len(found) >= 1 + trials
    assert {(status, json.loads(summary)["watched"]) for status, summary in found} == {(None, True)}
    assert not log.exists(), log.read_text()
