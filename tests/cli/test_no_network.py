"""A whole campaign opens no connection and looks up no name: not the loop, not guardrails, not a trial process."""

import os
import subprocess
from pathlib import Path

from tests.support.command import argv
from tests.support.workspaces import make_standin_workspace

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


def test_a_whole_campaign_opens_no_connection(tmp_path: Path) -> None:
    log = tmp_path / "network.log"
    hook = AUDIT.format(log=str(log))
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
    workspace = tmp_path / "w"
    source = hook + (Path(__file__).parents[1] / "support" / "standin_train.py").read_text().split('"""', 2)[2]
    root = make_standin_workspace(workspace, source=source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hook"), "LANGSMITH_API_KEY": "set-by-somebody"}
    for name in ("OTEL_SDK_DISABLED", "LITELLM_LOCAL_MODEL_COST_MAP", "LANGSMITH_TRACING", "DO_NOT_TRACK"):
        environment.pop(name, None)
    done = subprocess.run(
        argv("run", root, "--proposer", "tpe", "--trials", 3),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    started = (tmp_path / "network.log.started").read_text()
    assert started.count("train.py") >= 5, "the hook runs in the trial processes too"
    assert " -m run " in started
    assert not log.exists(), log.read_text()
