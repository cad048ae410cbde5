"""`nightshift rails check`: raw replies in, verdicts out, a line each or in one document."""

import json
from pathlib import Path

from tests.support.command import nightshift
from tests.support.reply_corpus import MENU_FILE, knob


def test_verdicts_a_line_each_or_in_one_document(tmp_path: Path) -> None:
    menu = tmp_path / "menu.json"
    menu.write_text(json.dumps(MENU_FILE))
    replies = [knob("lr", 1e-3), knob("n_layer", 3), "no object"]
    stdin = "".join(f"{json.dumps(raw)}\n" for raw in replies)
    lines = nightshift("rails", "check", "--menu", menu, stdin=stdin)
    whole = nightshift("rails", "check", "--menu", menu, "--json", stdin=stdin)
    assert (lines.code, whole.code) == (0, 0)
    verdicts = [json.loads(line) for line in lines.out.splitlines()]
    assert json.loads(whole.out) == {"verdicts": verdicts}
    assert [(v["ok"], v["rail"]) for v in verdicts] == [(True, None), (False, "range"), (False, "schema")]
    assert verdicts[1]["reason"] == "n_layer = 3: a whole number from 4 to 48"
