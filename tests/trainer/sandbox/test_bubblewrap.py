"""What bubblewrap is told, and the life of the namespaces that it makes."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.forking import end_of_all, in_child, in_fresh_process, namespaced, processes_in_sight
from trainer.sandbox import bubblewrap
from trainer.sandbox.levels import Isolation, probe
from trainer.sandbox.permissions import Permissions

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
"""Newer Pythons warn of forking beside threads; the children here only make system calls."""


@pytest.fixture
def permissions(tmp_path: Path) -> Permissions:
    (tmp_path / "scratch").mkdir()
    return namespaced(str((tmp_path / "scratch").resolve()))


@pytest.fixture
def real() -> None:
    for level in probe():
        if level.level is Isolation.L3 and not level.ok:
            pytest.skip(level.why)


def after(arguments: list[str], option: str) -> list[tuple[str, str]]:
    return [(arguments[at + 1], arguments[at + 2]) for at, word in enumerate(arguments) if word == option]


def test_every_memory_file_system_has_a_size(permissions: Permissions) -> None:
    arguments = bubblewrap.arguments(permissions, 4, 5)
    for at, word in enumerate(arguments):
        if word == "--tmpfs":
            assert arguments[at - 2] == "--size"
            assert 0 < int(arguments[at - 1]) <= permissions.limits.memory_bytes // 2
    assert [arguments[at + 1] for at, word in enumerate(arguments) if word == "--tmpfs"] == ["/tmp", "/dev", "/dev/shm"]


def test_only_scratch_is_writable_and_comes_after_what_could_cover_it(permissions: Permissions) -> None:
    arguments = bubblewrap.arguments(permissions, 4, 5)
    scratch = str(permissions.scratch)
    assert after(arguments, "--bind") == [(scratch, scratch)]
    assert arguments.index("--bind") > max(at for at, word in enumerate(arguments) if word in ("--tmpfs", "--ro-bind"))
    assert arguments[-4:] == ["--remount-ro", "/", "--chdir", "/"]


def test_a_trial_gets_every_namespace_and_no_capability(permissions: Permissions) -> None:
    arguments = bubblewrap.arguments(permissions, 4, 5)
    assert {f"--unshare-{name}" for name in ("user", "pid", "net", "ipc", "uts")} <= set(arguments)
    assert after(arguments, "--cap-drop")[0][0] == "ALL"
    assert "--die-with-parent" in arguments


def test_devices_with_cuda(permissions: Permissions, monkeypatch: pytest.MonkeyPatch) -> None:
    glob = Path.glob
    cards = ["nvidia0", "nvidia-caps", "nvidia-uvm", "nvidiactl"]

    def fake(self: Path, pattern: str) -> list[Path]:
        return [Path("/dev") / name for name in cards] if pattern == "nvidia*" else list(glob(self, pattern))

    monkeypatch.setattr(Path, "glob", fake)
    bound = after(bubblewrap.arguments(replace(permissions, device="cuda"), 4, 5), "--dev-bind")
    plain = ["null", "zero", "full", "random", "urandom"]
    assert bound == [(f"/dev/{name}", f"/dev/{name}") for name in [*plain, *sorted(cards)]]
    assert len(after(bubblewrap.arguments(permissions, 4, 5), "--dev-bind")) == len(plain)


def test_hidden_files_are_covered_wherever_they_can_be_seen(permissions: Permissions, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "closed").mkdir(parents=True)
    (real / "held.py").write_text("")
    (tmp_path / "alias").symlink_to("real")
    here = replace(permissions, readable=(tmp_path / "alias",), hidden=(real / "held.py", real / "closed"))
    covers = {cover.place: cover.is_folder for cover in bubblewrap.covers(here.readable, here.out_of_sight)}
    assert {place: covers[str(tmp_path / place)] for place in ("alias/held.py", "real/held.py")} == {
        "alias/held.py": False,
        "real/held.py": False,
    }
    assert covers[str(tmp_path / "alias/closed")]
    assert any("__pycache__/held." in place for place in covers)


def test_nothing_is_bound_below_something_else_that_is_bound(permissions: Permissions) -> None:
    places = [Path(place) for _, place in after(bubblewrap.arguments(permissions, 4, 5), "--ro-bind")]
    assert len(places) == len(set(places))
    assert not [(one, two) for one in places for two in places if one in two.parents]


def test_a_machine_without_bubblewrap_is_an_error(permissions: Permissions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="not installed"):
        bubblewrap.start(permissions)


def test_its_own_words_when_it_fails(permissions: Permissions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    assert (
        in_child(lambda: str(bubblewrap.start(permissions))) == "OSError: bwrap: setting up uid map: Permission denied"
    )


@pytest.mark.usefixtures("real")
def test_a_child_is_alone_in_its_namespaces(permissions: Permissions) -> None:
    # bubblewrap, the shell that holds on, the child
    assert in_fresh_process(processes_in_sight, str(permissions.scratch)) == "3 []"
    assert (permissions.scratch / "from_inside").exists()


@pytest.mark.usefixtures("real")
def test_the_end_takes_every_process_along(permissions: Permissions) -> None:
    assert in_fresh_process(end_of_all, str(permissions.scratch)) == str(-signal.SIGKILL)
