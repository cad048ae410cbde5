"""Proposers by name, the default for a person who named none, recordings and scripts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.base import NoReplyError, NoReplyKind
from agents.registry import MODEL_VARIABLE, choose_default, known_proposers, make_proposer, require_prices
from agents.scripted import ScriptedProposer
from memory.records import TrialKind
from rails.errors import UserError
from rails.status import Status
from tests.support.chat_server import GOOD, ChatServer
from tests.support.proposals import make_context, make_trial


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MODEL_VARIABLE, "OPENAI_API_KEY", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)


def mine(folder: Path, text: str = 'base_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n', name: str = "mine") -> None:
    (folder / "models.toml").write_text(f"[models.{name}]\n{text}")


@pytest.mark.parametrize("name", ["tpe", "random", "ollama", "nim-8b", "vllm"])
def test_names_make_proposers(name: str, tmp_path: Path) -> None:
    assert make_proposer(name, workspace=tmp_path).name == name


def test_an_unknown_name_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no proposer 'olama' \(did you mean 'ollama'\?\) — use one of tpe, random, .*vllm"
    ):
        make_proposer("olama", workspace=tmp_path)
    assert known_proposers(tmp_path)[:6] == ("tpe", "random", "cma", "gp", "planner", "replay")


def test_a_model_may_not_take_a_built_in_name(tmp_path: Path) -> None:
    mine(tmp_path, name="tpe")
    with pytest.raises(UserError, match="'tpe' is the name of a built-in proposer"):
        choose_default(tmp_path)


def test_the_default_is_tpe_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A key in the environment for something else is no consent to send prompts there.
    monkeypatch.setenv("OPENAI_API_KEY", "sk-123456789")
    name, sentence = choose_default(tmp_path)
    assert name == "tpe"
    assert sentence is not None and "--proposer ollama" in sentence and "\n" not in sentence


def test_a_configured_model_is_the_default(tmp_path: Path) -> None:
    mine(tmp_path)
    name, sentence = choose_default(tmp_path)
    assert name == "hybrid:mine" and sentence is not None and "--proposer mine" in sentence
    for asked, called in (("planner", "mine"), ("hybrid:planner", "hybrid:mine"), ("hybrid:mine", "hybrid:mine")):
        assert make_proposer(asked, workspace=tmp_path).name == called


def test_a_configured_model_without_its_key_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine(tmp_path, 'base_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key_env = "MY_KEY"\n')
    name, sentence = choose_default(tmp_path)
    assert name == "tpe" and sentence is not None and "MY_KEY is not set" in sentence
    monkeypatch.setenv("MY_KEY", "0123456789")
    assert choose_default(tmp_path)[0] == "hybrid:mine"


def test_the_environment_names_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, "ollama")
    assert choose_default(tmp_path)[0] == "hybrid:ollama"
    monkeypatch.setenv(MODEL_VARIABLE, "olama")
    with pytest.raises(UserError, match=r"NIGHTSHIFT_MODEL: there is no model 'olama' \(did you mean 'ollama'\?\)"):
        choose_default(tmp_path)


def test_the_planner_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model is configured"):
        make_proposer("planner", workspace=tmp_path)


def test_choosing_contacts_nobody(tmp_path: Path) -> None:
    with ChatServer() as server:
        (tmp_path / "models.toml").write_text(server.models_toml("mine"))
        assert choose_default(tmp_path)[0] == "hybrid:mine"
        make_proposer("mine", workspace=tmp_path)
    assert server.requests == []


def test_a_statistical_proposer_loads_no_heavy_library() -> None:
    code = (
        "import sys; from pathlib import Path; from agents.registry import choose_default, make_proposer; "
        "make_proposer(choose_default(Path('/nowhere'))[0], workspace=Path('/nowhere')); "
        "print([m for m in ('langchain_core', 'openai', 'optuna', 'torch', 'guardrails', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recording_is_replayed_from_the_store_s_position(tmp_path: Path) -> None:
    lines = [json.dumps({"raw": "not JSON"}), json.dumps(GOOD), "", GOOD]
    (tmp_path / "replay.jsonl").write_text("\n".join(lines))
    baseline = make_trial(0, "x", 1, Status.BASELINE, 0.0, kind=TrialKind.BASELINE, edit=None, parent_trial_id=None)
    first = make_trial(1, "depth", 3, Status.DISCARD, -0.01, attempt=1)

    def replay(**fields: Any) -> str:
        return make_proposer("replay", workspace=tmp_path).propose(make_context(**fields)).raw

    assert replay(trials=(baseline,)) == "not JSON"
    assert replay(trials=(baseline,), attempt=1) == GOOD
    assert replay(trials=(baseline, first), trial_seq=2) == GOOD
    with pytest.raises(NoReplyError, match="only 3 replies, and number 4 is needed"):
        replay(trials=(baseline, first), trial_seq=2, attempt=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no such recording"), ("\n", "is empty"), ('{"raw": "x"}\n{"raw', "r.jsonl:2: the line is not JSON")],
)
def test_a_recording_that_cannot_be_read(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(UserError, match=said):
        make_proposer("replay:r.jsonl", workspace=tmp_path)


def test_a_script() -> None:
    proposer = ScriptedProposer(["a\ud800", lambda context: f"trial {context.trial_seq}"])
    first = proposer.propose(make_context())
    assert (first.raw, first.calls[0].raw_reply) == ("a\ud800", "a\\ud800")
    assert proposer.propose(make_context(trial_seq=4)).raw == "trial 4"
    assert [context.trial_seq for context in proposer.contexts] == [1, 4]
    with pytest.raises(NoReplyError, match="only 2 replies") as caught:
        proposer.propose(make_context())
    assert caught.value.kind is NoReplyKind.USED_UP


PRICES = "usd_per_million_prompt = 0.0\nusd_per_million_completion = 0.0\n"
MODEL = 'base_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'


def test_a_limit_of_money_needs_prices(tmp_path: Path) -> None:
    mine(tmp_path, MODEL + "usd_per_million_prompt = 1.0\n")
    for name in ("mine", "planner", "ollama"):
        with pytest.raises(UserError, match="states no prices for") as caught:
            require_prices(name, tmp_path)
        assert "usd_per_million_completion" in caught.value.fix and "models.toml" in caught.value.where
    mine(tmp_path, MODEL + PRICES)
    for name in ("mine", "planner", "openai", "tpe", "random", "replay", "replay:r.jsonl", "scripted"):
        require_prices(name, tmp_path)
