"""Campaigns with a language model: the real client, a local server that speaks the real protocol, real trainings."""

import itertools
import json
from pathlib import Path

from graph.options import RunOptions
from graph.runner import Runner
from memory.reader import Reader
from memory.records import Call, Trial
from rails.status import Status
from tests.support.chat_server import MALFORMED_REPLIES, Behaviour, ChatServer, empty, failing, ok, refusal, tool_call
from tests.support.workspaces import make_standin_workspace, standin_campaign

MOVES = [
    {"knob": knob, "new_value": value, "reason": f"try {knob} at {value}"}
    for knob, value in [
        ("rows", 16),
        ("bigram_weight", 0.6),
        ("trigram_weight", 0.1),
        ("smoothing", 2.0),
        ("buckets", 1024),
        ("seq_len", 128),
        ("decay", 0.9),
        ("rows", 32),
        ("smoothing", 1.0),
        ("trigram_weight", 0.2),
    ]
]
GOOD = [ok(json.dumps(move)) for move in MOVES]


def run(root: Path, server: ChatServer, *, trials: int, lineage: bool = True) -> tuple[list[Trial], list[Call]]:
    (root / "models.toml").write_text(server.models_toml("local"))
    options = RunOptions(proposer="local", trials=trials, lineage=lineage)
    with standin_campaign(root, options=options) as services:
        campaign = Runner(services).run()
        rows = services.store.trials(campaign.campaign_id)
        return rows, [call for trial in rows for call in services.store.calls(trial.trial_id)]


def test_a_ten_trial_campaign_survives_one_reply_of_each_malformed_kind(tmp_path: Path) -> None:
    bad: list[Behaviour] = [ok(text) for text in MALFORMED_REPLIES.values()]
    bad += [empty(), refusal(), tool_call("delete_everything", {}), failing(500), failing(429, retry_after="0")]
    # At most two bad replies before each good one: a proposal may be corrected twice.
    script: list[Behaviour] = []
    left = iter(bad)
    for good in GOOD:
        script += [*itertools.islice(left, 2), good]
    remaining = list(left)
    root = make_standin_workspace(tmp_path)
    with ChatServer([*script[:-1], *remaining, script[-1]]) as server:
        trials, calls = run(root, server, trials=10)
    decided = [t for t in trials if t.seq]
    assert len(decided) == 10
    finished = [t for t in decided if t.status in {Status.KEEP, Status.DISCARD}]
    assert len(finished) >= 8
    assert {t.status for t in decided} <= {Status.KEEP, Status.DISCARD, Status.RAIL_BLOCKED}
    assert any(t.attempt == 2 for t in finished)
    assert all(c.model == "local" and c.prompt for c in calls)
    assert sum(c.prompt_tokens or 0 for c in calls) > 0


def test_lineage_on_and_off_differ_only_in_the_block(tmp_path: Path) -> None:
    prompts: dict[bool, list[list[dict[str, str]]]] = {}
    blocks: list[str] = []
    for lineage in (True, False):
        root = make_standin_workspace(tmp_path / str(lineage))
        with ChatServer(GOOD) as server:
            trials, calls = run(root, server, trials=4, lineage=lineage)
        prompts[lineage] = [call.prompt or [] for call in calls]
        shas = [t.lineage_sha256 for t in trials if t.seq]
        assert all((sha is not None) == lineage for sha in shas)
        if lineage:
            with Reader.open(root / ".nightshift" / "snapshot") as reader:
                blocks = [str(found.text) for sha in shas if sha and (found := reader.lineage_block(sha))]
    assert len(prompts[True]) == len(prompts[False]) == len(blocks) == 4
    assert len(set(blocks)) == 4
    for shown, hidden, block in zip(prompts[True], prompts[False], blocks, strict=True):
        assert block.strip() in shown[1]["content"]
        shown[1]["content"] = shown[1]["content"].replace(block.strip() + "\n\n", "", 1)
        assert shown == hidden
