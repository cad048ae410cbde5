"""Shared by the whole suite: prepared data in a cache of its own, no way out to the network, slow tests on request."""

import os
import signal
import socket
import ssl
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: its threads must not spin while trial processes work
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is set, every process compiles everything anew

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
import pytest

from agents.model.local_server import LocalServer
from tests.support.examples import try_few
from tests.support.real_server import serving

sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also run the system tests, as continuous integration does")
    parser.addoption("--runslow", action="store_true", help="also run the release matrices; implies --all")
    parser.addoption("--gpu", action="store_true", help="also run tests that need a CUDA device")


def pytest_configure(config: pytest.Config) -> None:
    if not _all(config):
        try_few()


def _all(config: pytest.Config) -> bool:
    return bool(config.getoption("--all") or config.getoption("--runslow"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for: 1,500 tests that are skipped one by one cost the others seconds."""
    wanted = {"system": _all(config), "slow": config.getoption("--runslow"), "gpu": config.getoption("--gpu")}
    unwanted = {marker for marker, asked in wanted.items() if not asked}
    left_out = [item for item in items if not unwanted.isdisjoint(item.keywords)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if unwanted.isdisjoint(item.keywords)]


@pytest.fixture(scope="session")
def runs_all(pytestconfig: pytest.Config) -> bool:
    """Whether system tests run: for fixtures that make what many tests look at."""
    return _all(pytestconfig)


@pytest.fixture(scope="session")
def runs_slow(pytestconfig: pytest.Config) -> bool:
    """Whether release matrices run."""
    return bool(pytestconfig.getoption("--runslow"))


@pytest.fixture(scope="session", autouse=True)
def _signals_of_a_terminal() -> None:
    """As in a terminal, also where the suite runs in the background or under `nohup`, which ignore some of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Prepared data of the suite, shared by its tests and by the processes they start; the person's stays untouched."""
    cache = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    yield cache
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may talk to servers they started; nothing may leave the machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1"}:
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _certificates_read_once() -> Generator[None]:
    """Every HTTP client reads all certificates there are, 40 ms long, also the hundreds that only talk to a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def smollm2() -> Generator[LocalServer]:
    """A small real model behind llama.cpp's server, 4,096 tokens of context. For tests marked `system`: 98 MB."""
    with serving(4096) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _unbounded() -> Generator[None]:
    """`nightshift query` limits the memory of its process, which here is the one of many other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memory.snapshot.loading.bound_process", lambda: None)
        yield
