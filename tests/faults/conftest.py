"""Shared by the tests that kill: one warm process and one set of references for each worker."""

import pytest

from tests.support.killing_matrix import Matrix
from tests.support.warm_parent import warm_parent


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("matrix"), warm_parent())
