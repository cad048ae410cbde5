"""Downloads from a real server that drops, refuses and sends rubbish, as plain files and as a hub's."""

import errno
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import close_session

from rails.errors import UserError
from tests.support.flaky_server import Site, serve
from trainer.data import download
from trainer.data.download import ATTEMPTS, Remote, download_all
from trainer.data.progress import PrepareProgress

ON_HUB = "datasets/owner/name/resolve/refs%2Fpr%2F1/data"


def content(name: str, size: int = 300_000) -> bytes:
    """`size` bytes that begin and end with GOOD."""
    middle = hashlib.shake_256(name.encode()).digest(size - 8)
    return b"GOOD" + middle + b"GOOD"


def check(path: Path) -> str | None:
    raw = path.read_bytes()
    return None if raw[:4] == raw[-4:] == b"GOOD" else "it is rubbish"


def site(*faults: int | str, folder: str = "plain") -> Site:
    return Site(files={f"{folder}/{name}.bin": content(name) for name in "abcdefghij"}, faults=list(faults))


def remotes(site: Site, folder: Path, names: str = "a", at: str = "plain") -> list[Remote]:
    return [Remote(f"{site.url}/{at}/{name}.bin", folder / f"{name}.bin") for name in names]


def assert_whole(folder: Path, names: str = "a") -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{name}.bin": content(name) for name in names
    }


@pytest.fixture(autouse=True)
def _quick_and_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0.001)
    yield
    close_session()


@pytest.fixture(params=["plain", ON_HUB])
def at(request: pytest.FixtureRequest) -> str:
    return request.param


def served_as(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the server the hub's mirror."""
    monkeypatch.setenv("HF_ENDPOINT", site.url)


def test_many_files_at_once_and_none_twice(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[PrepareProgress] = []
    (tmp_path / ".hub").mkdir()
    (tmp_path / ".hub" / "half.incomplete").write_text("of a killed process")
    with serve(site(folder=at)) as server:
        served_as(server, monkeypatch)
        wanted = remotes(server, tmp_path, "abcdefghij", at)
        download_all(wanted, check, reports.append)
        assert_whole(tmp_path, "abcdefghij")
        download_all(wanted, check)
        assert len(server.asked) == 10
    assert reports[-1].done == 10 * 300_000


@pytest.mark.parametrize("fault", [429, 503, "drop", "corrupt"])
def test_a_passing_fault_is_waited_out(
    tmp_path: Path, at: str, fault: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(site(fault, folder=at)) as server:
        served_as(server, monkeypatch)
        download_all(remotes(server, tmp_path, at=at), check)
        assert len(server.asked) == 2
    assert_whole(tmp_path)


def test_a_refusal_is_final_and_the_rest_is_kept(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(site(folder=at)) as server:
        served_as(server, monkeypatch)
        download_all(remotes(server, tmp_path, "a", at), check)
        with pytest.raises(UserError, match="refused with 404") as caught:
            download_all(remotes(server, tmp_path, "az", at), check)
        assert caught.value.where.endswith("/z.bin")
        assert [path for path, _ in server.asked].count(f"/{at}/z.bin") == (1 if at == "plain" else 0)
    assert_whole(tmp_path)


def test_nobody_answers(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the hub's library waits by its own clock
    with serve(site(folder=at)) as server:
        served_as(server, monkeypatch)
        wanted = remotes(server, tmp_path, at=at)
    with pytest.raises(UserError, match=f"refused.*, {ATTEMPTS} times in a row — check the network"):
        download_all(wanted, check)


def test_rubbish_is_never_put_in_place(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(site(*["corrupt"] * ATTEMPTS, folder=at)) as server:
        served_as(server, monkeypatch)
        with pytest.raises(UserError, match="it is rubbish"):
            download_all(remotes(server, tmp_path, at=at), check)
    assert_whole(tmp_path, "")


def test_a_server_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    with serve(site(*["drop"] * ATTEMPTS)) as server, pytest.raises(UserError, match="150000 bytes too early"):
        download_all(remotes(server, tmp_path), check)
    assert_whole(tmp_path, "")


def test_a_bad_file_in_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"rubbish")
    with serve(site()) as server:
        download_all(remotes(server, tmp_path), check)
    assert_whole(tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "x.parquet"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="not an http"):
        download_all([Remote(url, tmp_path / "x")], check)


def test_a_full_disk_is_not_retried(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with serve(site()) as server:
        with pytest.raises(OSError, match="No space") as caught:
            download_all(remotes(server, tmp_path), check)
        assert caught.value.errno == errno.ENOSPC
        assert len(server.asked) == 1


def test_two_at_once_download_once(tmp_path: Path) -> None:
    with serve(site("drop")) as server:
        wanted = remotes(server, tmp_path, "abc")
        threads = [Thread(target=download_all, args=(wanted, check)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 4
    assert_whole(tmp_path, "abc")
