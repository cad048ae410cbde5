"""Campaigns of one file share what starts their trials."""

from collections.abc import Generator

import pytest

from tests.support.lent_launcher import lent_launchers


@pytest.fixture(scope="module", autouse=True)
def _one_fork_server() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    with lent_launchers():
        yield
