"""Downloads against a real server that drops, refuses, forgets ranges and changes its files."""

import errno
import hashlib
from pathlib import Path
from threading import Thread

import pytest

from rails.errors import UserError
from tests.support.flaky_server import Site, serve
from trainer.data.download import Remote, Retry, download_all
from trainer.data.progress import PrepareProgress

QUICK = Retry(attempts=3, first_wait_s=0.001, longest_wait_s=0.01, timeout_s=5.0)


def content(name: str, size: int = 300_000) -> bytes:
    """`size` bytes that begin and end with GOOD."""
    middle = hashlib.shake_256(name.encode()).digest(size - 8)
    return b"GOOD" + middle + b"GOOD"


def check(path: Path) -> str | None:
    raw = path.read_bytes()
    return None if raw[:4] == raw[-4:] == b"GOOD" else "it is rubbish"


def site(**settings: object) -> Site:
    return Site(files={f"{name}.bin": content(name) for name in "abcdefghij"}, **settings)  # pyright: ignore[reportArgumentType]


def remotes(site: Site, folder: Path, names: str = "a") -> list[Remote]:
    return [Remote(f"{site.url}/{name}.bin", folder / f"{name}.bin") for name in names]


def assert_whole(folder: Path, names: str = "a") -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{name}.bin": content(name) for name in names
    }


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_many_files_at_once_and_none_twice(tmp_path: Path) -> None:
    reports: list[PrepareProgress] = []
    with serve(site()) as server:
        wanted = remotes(server, tmp_path, "abcdefghij")
        download_all(wanted, check, QUICK, reports.append)
        assert_whole(tmp_path, "abcdefghij")
        download_all(wanted, check, QUICK)
        assert len(server.asked) == 10
    assert reports[-1].done == 10 * 300_000


@pytest.mark.parametrize("fault", [429, 500, 503, "drop", "corrupt"])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etags", [True, False])
def test_a_passing_fault_is_waited_out(tmp_path: Path, fault: int | str, ranges: bool, etags: bool) -> None:
    with serve(site(faults=[fault, fault], ranges=ranges, etags=etags)) as server:
        download_all(remotes(server, tmp_path), check, QUICK)
        assert len(server.asked) == 3
    assert_whole(tmp_path)


def test_a_dropped_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serve(site(faults=["drop", "drop"])) as server:
        download_all(remotes(server, tmp_path), check, QUICK)
        assert [asked for _, asked in server.asked] == [None, "bytes=150000-", "bytes=225000-"]
        assert server.sent == 300_000
    assert_whole(tmp_path)


def test_progress_earns_new_attempts(tmp_path: Path) -> None:
    with serve(site(faults=["drop"] * 8)) as server:
        download_all(remotes(server, tmp_path), check, QUICK)
        assert len(server.asked) == 9
    assert_whole(tmp_path)


def test_a_server_that_goes_nowhere_is_given_up(tmp_path: Path) -> None:
    with serve(site(faults=["drop"] * 99, ranges=False)) as server, pytest.raises(UserError, match="connection ended"):
        download_all(remotes(server, tmp_path), check, QUICK)
    assert not (tmp_path / "a.bin").exists()


def test_a_later_process_goes_on_with_the_part(tmp_path: Path) -> None:
    with serve(site(faults=["drop", 500, 500, 500])) as server:
        with pytest.raises(UserError, match="500"):
            download_all(remotes(server, tmp_path), check, QUICK)
        assert (tmp_path / "a.bin.part").stat().st_size == 150_000
        download_all(remotes(server, tmp_path), check, QUICK)
        assert server.asked[-1][1] == "bytes=150000-"
    assert_whole(tmp_path)


@pytest.mark.parametrize("size", [300_000, 300_001])
def test_a_part_that_is_whole_or_too_long(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.bin.part").write_bytes(content("a").ljust(size, b"x"))
    with serve(site()) as server:
        download_all(remotes(server, tmp_path), check, QUICK)
    assert_whole(tmp_path)


def test_a_file_that_changed_in_between_is_fetched_anew(tmp_path: Path) -> None:
    with serve(site(faults=["drop", 500, 500, 500])) as server:
        server.files["a.bin"] = b"GOOD" + bytes(299_992) + b"GOOD"
        with pytest.raises(UserError, match="500"):
            download_all(remotes(server, tmp_path), check, QUICK)
        server.files["a.bin"] = content("a")
        download_all(remotes(server, tmp_path), check, QUICK)
        assert server.asked[-1][1] == "bytes=150000-"
    assert_whole(tmp_path)


def test_a_bad_file_in_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"rubbish")
    with serve(site()) as server:
        download_all(remotes(server, tmp_path), check, QUICK)
    assert_whole(tmp_path)


def test_rubbish_is_never_put_in_place(tmp_path: Path) -> None:
    with serve(site(faults=["corrupt"] * 99)) as server, pytest.raises(UserError, match="it is rubbish"):
        download_all(remotes(server, tmp_path), check, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_final_and_the_rest_is_kept(tmp_path: Path) -> None:
    with serve(site()) as server:
        with pytest.raises(UserError, match="404") as caught:
            download_all(remotes(server, tmp_path, "az"), check, QUICK)
        assert caught.value.where.endswith("/z.bin")
        assert [path for path, _ in server.asked].count("/z.bin") == 1
        download_all(remotes(server, tmp_path, "a"), check, QUICK)
    assert_whole(tmp_path)


def test_nobody_answers(tmp_path: Path) -> None:
    with serve(site()) as server:
        wanted = remotes(server, tmp_path)
    with pytest.raises(UserError, match="3 times in a row — check the network"):
        download_all(wanted, check, QUICK)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "x.parquet"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="not an http"):
        download_all([Remote(url, tmp_path / "x")], check, QUICK)


def test_a_full_disk_is_not_retried(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with serve(site()) as server:
        with pytest.raises(OSError, match="No space") as caught:
            download_all(remotes(server, tmp_path), check, QUICK)
        assert caught.value.errno == errno.ENOSPC
        assert len(server.asked) == 1


def test_two_at_once_download_once(tmp_path: Path) -> None:
    with serve(site(faults=["drop"])) as server:
        wanted = remotes(server, tmp_path, "abc")
        threads = [Thread(target=download_all, args=(wanted, check, QUICK)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 4
    assert_whole(tmp_path, "abc")
