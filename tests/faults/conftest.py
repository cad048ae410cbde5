"""Shared by the tests that kill: one warm process for each worker, and one set of references for all of them."""

import os

import pytest

from tests.support.killing_matrix import Matrix
from tests.support.warm_parent import warm_parent


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    ours = tmp_path_factory.getbasetemp()
    ends = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "ends of chapters"
    ends.mkdir(exist_ok=True)
    return Matrix(tmp_path_factory.mktemp("matrix"), ends, warm_parent())
