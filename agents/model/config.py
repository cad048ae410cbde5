"""`models.toml`: the language models a person can name. The packaged one, and the workspace's, which overrides it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from rails.errors import UserError
from rails.tables import Table, build, read_toml

ReplyFormat = Literal["json_schema", "json_object", "text"]
MODELS_FILE = "models.toml"
MIN_CONTEXT_TOKENS = 1024


class ModelConfig(Table):
    """One model behind an OpenAI-compatible endpoint."""

    base_url: str
    model: str = Field(min_length=1, max_length=200)
    """The name the endpoint knows it by."""
    api_key_env: str = ""
    """The environment variable that holds the key; empty when none is needed."""
    reply_format: ReplyFormat = "json_schema"
    """The first form of structured reply to ask for; a rejected one is stepped down from."""
    tools: bool = False
    temperature: float | None = Field(default=None, ge=0, le=5)
    timeout_s: float = Field(default=120.0, gt=0, le=3600)
    """For one request, from sending it to the last byte of the answer."""
    max_tokens: int = Field(default=2048, ge=16, le=200_000)
    context_tokens: int = Field(default=8192, ge=MIN_CONTEXT_TOKENS, le=10_000_000)
    """How many tokens fit into one request, prompt and reply together; prompts are made to fit."""
    usd_per_million_prompt: float | None = Field(default=None, ge=0)
    usd_per_million_completion: float | None = Field(default=None, ge=0)

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("base_url should be an address like http://localhost:8000/v1")
        return url

    @property
    def address(self) -> str:
        """The endpoint for people: without user, password or query, which may be secret."""
        parts = urlsplit(self.base_url)
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{port}{parts.path}"

    @property
    def is_ready(self) -> bool:
        """Whether the key is set, or none is needed."""
        return not self.api_key_env or bool(os.environ.get(self.api_key_env, "").strip())

    def api_key(self) -> str:
        """The key from the environment; a placeholder when the endpoint needs none.

        Raises:
            UserError: the variable is not set.
        """
        if not self.api_key_env:
            # Never empty: the client would then take OPENAI_API_KEY and send it to whatever base_url names.
            return "unused"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            fix = f"export {self.api_key_env}=…, or use a model that needs no key"
            raise UserError(f"the environment variable {self.api_key_env} is not set", where=self.address, fix=fix)
        return key

    @property
    def has_prices(self) -> bool:
        """Whether it states what a call costs."""
        return self.usd_per_million_prompt is not None and self.usd_per_million_completion is not None

    def usd(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """What a request cost; None when a price or a count is missing."""
        prices = (self.usd_per_million_prompt, self.usd_per_million_completion)
        if prices[0] is None or prices[1] is None or prompt_tokens is None or completion_tokens is None:
            return None
        return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


class ModelsFile(Table):
    """A whole models.toml."""

    models: dict[str, ModelConfig] = Field(default_factory=dict)


def load_models(workspace: Path | None) -> dict[str, ModelConfig]:
    """All models by name: the packaged ones, then the workspace's, whose keys override.

    Raises:
        UserError: a models.toml that is not TOML, has an unknown key or a wrong value (file and key are named).
    """
    packaged_path = Path(__file__).with_name(MODELS_FILE)
    packaged = read_toml(packaged_path, fix="install nightshift again")
    own = _workspace_tables(workspace)
    if workspace is None or not own:
        return build(ModelsFile, packaged, where=str(packaged_path)).models
    merged: dict[str, Any] = dict(packaged["models"])
    for name, table in own.items():
        merged[name] = {**merged.get(name, {}), **table} if isinstance(table, Mapping) else table
    return build(ModelsFile, {"models": merged}, where=str(workspace / MODELS_FILE)).models


def workspace_models(workspace: Path | None) -> tuple[str, ...]:
    """Names that the workspace's own models.toml states, in its order: what this person configured.

    Raises:
        UserError: the file is not TOML.
    """
    return tuple(_workspace_tables(workspace))


def _workspace_tables(workspace: Path | None) -> dict[str, Any]:
    """The `[models.*]` tables of the workspace's own file, unchecked; empty when there is no file."""
    if workspace is None or not (workspace / MODELS_FILE).exists():
        return {}
    path = workspace / MODELS_FILE
    data = read_toml(path, fix="give a models.toml with tables [models.NAME]")
    if set(data) - {"models"} or not isinstance(data.get("models", {}), dict):
        build(ModelsFile, data, where=str(path))
    return dict(data.get("models", {}))
