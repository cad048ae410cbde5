"""Control groups: where they can be made, and that the kernel keeps to them."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.forking import LIMITS, in_fresh_process, tasks_until_refused
from trainer.sandbox import control_group
from trainer.sandbox.control_group import ControlGroup, Place
from trainer.sandbox.levels import Isolation, probe

V1 = """\
30 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
"""Newer Pythons warn of forking beside threads; the children here only make system calls."""


@pytest.fixture
def group() -> ControlGroup:
    for level in probe():
        if level.level is Isolation.L4 and not level.ok:
            pytest.skip(level.why)
    return ControlGroup.create(LIMITS)


def join(group: ControlGroup) -> None:
    for path in group.procs_files:
        path.write_text("0")


def test_mounts_and_memberships_are_understood() -> None:
    mounts = list(control_group._mounts(V1))  # pyright: ignore[reportPrivateUsage]
    assert [(top.name, kind, "memory" in options) for _, top, kind, options in mounts] == [
        ("memory", "cgroup", True),
        ("pids", "cgroup", False),
        ("unified", "cgroup2", False),
    ]
    found = dict(control_group._memberships("4:memory:/a\n3:cpu,cpuacct:/b\n0::/c\n"))  # pyright: ignore[reportPrivateUsage]
    assert found == {"memory": "/a", "cpu": "/b", "cpuacct": "/b", "": "/c"}


def test_candidates_are_the_own_group_the_one_above_and_the_top(tmp_path: Path) -> None:
    (tmp_path / "user/scope").mkdir(parents=True)
    candidates = control_group._candidates  # pyright: ignore[reportPrivateUsage]
    assert candidates("/", tmp_path, "/user/scope") == [tmp_path / "user/scope", tmp_path / "user", tmp_path]
    assert candidates("/docker/abc", tmp_path, "/docker/abc") == [tmp_path]
    assert candidates("/", tmp_path, "/not/visible/here") == [tmp_path]
    assert candidates("/", tmp_path, "/../../elsewhere") == [tmp_path]


def test_version_two_is_used_where_controllers_are_delegated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    monkeypatch.setattr(control_group, "places", lambda: (Place((tmp_path,), True),))
    group = ControlGroup.create(LIMITS)
    (folder,) = group.folders
    assert folder.parent == tmp_path
    assert (folder / "memory.max").read_text() == str(LIMITS.memory_bytes)
    assert (folder / "pids.max").read_text() == str(LIMITS.tasks)
    assert group.procs_files == (folder / "cgroup.procs",)
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    assert group.oom_killed
    (folder / "cpu.stat").write_text("usage_usec 1234567\nuser_usec 1\n")
    assert group.cpu_s == 1.234567


def test_without_a_place_it_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_group, "places", lambda: ())
    with pytest.raises(PermissionError, match="no controllers"):
        ControlGroup.create(LIMITS)
    monkeypatch.setattr(control_group, "places", lambda: (Place((tmp_path / "gone",), True),))
    with pytest.raises(PermissionError, match=r"gone: No such file"):
        ControlGroup.create(LIMITS)


def test_groups_of_loops_that_are_gone_are_removed(tmp_path: Path) -> None:
    names = ("nightshift-999999999-1", f"nightshift-{os.getpid()}-1", "nightshift-999999998-1", "other")
    for name in names:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1, 1))
    os.utime(tmp_path / names[2])
    control_group._clear_abandoned(Place((tmp_path,), True))  # pyright: ignore[reportPrivateUsage]
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def test_version_one_counts_where_there_is_a_hierarchy_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("memory", "cpu"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(control_group, "places", lambda: (Place((tmp_path / "memory",) * 2, False, tmp_path / "cpu"),))
    group = ControlGroup.create(LIMITS)
    assert [path.parent.parent.name for path in group.procs_files] == ["memory", "cpu"]
    (group.procs_files[1].parent / "cpuacct.usage").write_text("1234567890\n")
    assert group.cpu_s == 1.23456789
    monkeypatch.setattr(control_group, "places", lambda: (Place((tmp_path / "memory",) * 2, False),))
    assert ControlGroup.create(LIMITS).cpu_s is None


def test_the_dead_in_it_are_counted(group: ControlGroup) -> None:
    child = os.fork()
    if child == 0:
        join(group)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if os.fork() == 0:
            while time.process_time() < 0.3:
                pass
            os._exit(0)
        time.sleep(600)
    deadline = time.monotonic() + 30
    while group.cpu_s is not None and group.cpu_s < 0.3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    group.kill()
    os.waitpid(child, 0)
    group.remove()


def test_everything_in_it_is_killed_and_it_is_removed(group: ControlGroup) -> None:
    child = os.fork()
    if child == 0:
        join(group)
        os.fork()
        os.fork()
        time.sleep(600)
        os._exit(0)
    deadline = time.monotonic() + 30
    while len(group.procs_files[0].read_text().split()) < 4:
        assert time.monotonic() < deadline
    group.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert not any(path.read_text().split() for path in group.procs_files)
    group.kill()
    group.remove()
    group.remove()
    assert not any(folder.exists() for folder in group.folders)
    assert not group.oom_killed


def test_tasks_end_at_the_limit(group: ControlGroup) -> None:
    group.remove()  # another is made: only whether there are any was asked
    assert int(in_fresh_process(tasks_until_refused)) == LIMITS.tasks  # the last one failed, and the maker counts too


def test_memory_over_the_limit_is_reported(group: ControlGroup) -> None:
    child = os.fork()
    if child == 0:
        join(group)
        held = [b"x" * 2**20 + bytes([number % 256]) for number in range(256)]
        os._exit(len(held) % 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert group.oom_killed
    group.kill()
    group.remove()
