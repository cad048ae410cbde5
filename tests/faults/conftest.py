"""Shared by the tests that kill: one warm process and one set of references for each worker."""

from collections.abc import Generator

import pytest

from tests.support.killing_matrix import Matrix
from tests.support.killing_parent import Parent


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Generator[Matrix]:
    with Parent() as parent:
        yield Matrix(tmp_path_factory.mktemp("matrix"), parent)
