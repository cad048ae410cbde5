"""`nightshift models` and the endpoint's part of `doctor`."""

from pathlib import Path

import pytest

from cli.show.endpoint import endpoint_section
from tests.support.chat_server import ChatServer
from tests.support.command import nightshift


def test_the_list_says_where_models_come_from_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[models.mine]\nbase_url = "http://localhost:1/v1"\nmodel = "m"\n')
    document = nightshift("models", "list", tmp_path, "--json").document
    rows = {row["name"]: row for row in document["models"]}
    assert rows["mine"]["from"] == "models.toml" and rows["mine"]["configured"] and rows["mine"]["ready"]
    assert rows["ollama"]["from"] == "nightshift" and not rows["ollama"]["configured"]
    assert [row["name"] for row in document["packaged"]] == ["smollm2"]
    said = nightshift("models", "list", tmp_path).out
    assert "mine" in said and "http://localhost:1/v1" in said and "not fetched" in said


def test_an_unknown_name_and_a_model_that_is_not_here() -> None:
    unknown = nightshift("models", "fetch", "smollm")
    assert unknown.code == 1 and "did you mean 'smollm2'" in unknown.err
    absent = nightshift("models", "serve", "smollm2")
    assert absent.code == 1 and "nightshift models fetch smollm2" in absent.err


def test_the_configured_model_alone_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_MODEL", raising=False)
    assert "asked" not in endpoint_section(tmp_path, ask=True)  # a model that can be named is not configured
    with ChatServer() as server:
        (tmp_path / "models.toml").write_text(server.models_toml("local", reply_format="json_object"))
        unasked = endpoint_section(tmp_path, ask=False)
        assert unasked["name"] == "local" and unasked["asked"] is False and server.requests == []
        found = endpoint_section(tmp_path, ask=True)
        assert found["requests"] == len(server.requests) > 0


@pytest.mark.system
def test_doctor_says_what_to_change(tmp_path: Path) -> None:
    with ChatServer() as server:  # it answers every question with the same proposal: by no schema, and calls no tool
        (tmp_path / "models.toml").write_text(server.models_toml("local", tools=True, max_tokens=16, timeout_s=600.0))
        found = nightshift("doctor", tmp_path, "--json").document["endpoint"]
    forms = {"union": "ignored", "wrapped": "ignored", "json_object": "honoured", "text": "honoured"}
    assert found["reply_forms"] == forms and found["tools"] == "ignored" and found["answers"] is True
    assert 'under [models.local], set reply_format = "json_object", tools = false' in found["advice"]
    said = nightshift("doctor", tmp_path).out
    assert "nobody answers there" in said
