"""models.toml: the packaged examples, a person's own, and what a malformed one is told."""

from pathlib import Path

import pytest

from agents.model.config import load_models, workspace_models
from rails.errors import UserError


def test_the_packaged_examples() -> None:
    models = load_models(None)
    assert list(models) == ["nim-8b", "ollama", "vllm", "openai"]
    assert models["openai"].api_key_env == "OPENAI_API_KEY"
    assert models["openai"].usd(1_000_000, 1_000_000) == pytest.approx(0.75)
    assert models["ollama"].usd(1, 1) is None
    assert models["openai"].usd(None, 1) is None


def test_a_workspace_overrides_keys_and_adds_models(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(
        '[models.ollama]\nmodel = "qwen3:4b"\n[models.mine]\nbase_url = "http://[::1]:9000/v1"\nmodel = "m"\n'
    )
    models = load_models(tmp_path)
    assert models["ollama"].model == "qwen3:4b"
    assert models["ollama"].base_url == load_models(None)["ollama"].base_url
    assert models["mine"].address == "http://[::1]:9000/v1"
    assert workspace_models(tmp_path) == ("ollama", "mine")
    assert workspace_models(tmp_path / "elsewhere") == workspace_models(None) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.m", "not valid TOML"),
        ('[models.m]\nbase_url = "http://x/v1"\n', "models.m.model: the key is missing"),
        ('[models.m]\nbase_url = "localhost:8000"\nmodel = "m"\n', "should be an address like"),
        ('[models.m]\nbase_url = "http://x:99999/v1"\nmodel = "m"\n', "should be an address like"),
        ('[models.m]\nbase_url = "ftp://x/v1"\nmodel = "m"\n', "should be an address like"),
        ("[models.ollama]\ntemprature = 1.0\n", "models.ollama.temprature: unknown key (did you mean 'temperature'?)"),
        ("[models.ollama]\ntimeout_s = nan\n", "models.ollama.timeout_s"),
        ("[models.ollama]\ntimeout_s = 0.0\n", "models.ollama.timeout_s"),
        ('[models.ollama]\nreply_format = "xml"\n', "models.ollama.reply_format"),
        ('[models.ollama]\ntools = "yes"\n', "models.ollama.tools"),
        ("[ollama]\n", "ollama: unknown key"),
        ("models = 3\n", "models"),
        ("[models]\nollama = 3\n", "models.ollama"),
    ],
)
def test_a_malformed_file_is_one_sentence_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_models(tmp_path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
