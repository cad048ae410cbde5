"""Which rules permissions become. Whether the kernel keeps them: `test_isolation_conformance`."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.sandbox import confine, landlock
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits, Permissions, other_pythons, readable_paths


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for folder in ("open", "mixed/__pycache__", "mixed/closed"):
        (tmp_path / "library" / folder).mkdir(parents=True)
    library = tmp_path / "library"
    for name in ("open/a.py", "mixed/shown.py", "mixed/held.py", "mixed/closed/b.py", "mixed/__pycache__/x"):
        (library / name).write_text("")
    for name in ("held", "shown"):
        (library / f"mixed/__pycache__/{name}.cpython-311.pyc").write_text("")
    (library / "mixed/link").symlink_to("held.py")
    return library


@pytest.fixture
def permissions(library: Path, tmp_path: Path) -> Permissions:
    return Permissions(
        level=Isolation.L2,
        scratch=tmp_path / "trials" / "one",
        readable=(library,),
        hidden=(library / "mixed/held.py", library / "mixed/closed"),
        device="cpu",
        limits=Limits(memory_bytes=2**30),
    )


def unhidden(permissions: Permissions) -> set[str]:
    base = permissions.readable[0].parent
    rules = landlock._unhidden(permissions)  # pyright: ignore[reportPrivateUsage]
    return {str(Path(rule.path).relative_to(base)) for rule in rules if Path(rule.path).is_relative_to(base)}


def test_a_folder_with_something_hidden_is_granted_child_by_child(permissions: Permissions) -> None:
    assert unhidden(permissions) == {
        "library/open",
        "library/mixed/shown.py",
        "library/mixed/__pycache__/shown.cpython-311.pyc",
        "library/mixed/__pycache__/x",
        "trials",
    }


def test_what_is_below_something_hidden_is_not_granted_by_being_named(permissions: Permissions, library: Path) -> None:
    landlocked = replace(permissions, readable=(library, library / "mixed/closed"))
    assert "library/mixed/closed" not in unhidden(landlocked)
    assert "library" not in unhidden(replace(permissions, hidden=(library,)))


def test_compiled_forms_are_hidden_whether_they_are_there_or_not(permissions: Permissions, library: Path) -> None:
    cache = library / "mixed/__pycache__"
    assert cache / "held.cpython-311.pyc" in permissions.out_of_sight
    (cache / "held.cpython-311.pyc").unlink()
    again = replace(permissions, readable=(library, library / "open"))
    assert any(path.name.startswith("held.") and path.parent == cache for path in again.out_of_sight)


def test_only_scratch_may_be_written(permissions: Permissions) -> None:
    writing = {
        rule.path for rule in landlock.rules(permissions) if rule.rights & (landlock.WRITE_FILE | landlock.MAKE_REG)
    }
    assert writing == {str(permissions.scratch), *landlock.DEVICES}
    namespaced = {
        rule.path
        for rule in landlock.rules(replace(permissions, level=Isolation.L3))
        if rule.rights & (landlock.WRITE_FILE | landlock.MAKE_REG)
    }
    assert namespaced == writing | {"/tmp", "/dev/shm"}


def test_no_devices_can_be_made_anywhere(permissions: Permissions) -> None:
    for level in (Isolation.L2, Isolation.L3):
        rules = landlock.rules(replace(permissions, level=level, device="cuda"))
        assert not any(rule.rights & (landlock.MAKE_CHAR | landlock.MAKE_BLOCK) for rule in rules)


def test_cuda_may_write_its_own_part_of_proc_and_all_of_it_only_in_a_namespace(permissions: Permissions) -> None:
    def writable(level: Isolation) -> set[str]:
        rules = landlock.rules(replace(permissions, device="cuda", level=level))
        return {rule.path for rule in rules if rule.path.startswith("/proc") and rule.rights & landlock.WRITE_FILE}

    assert writable(Isolation.L2) == {f"/proc/{os.getpid()}"}
    assert writable(Isolation.L3) == {"/proc"}


def test_nothing_personal_is_readable(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    never = (Path.home(), root, Path("/"), Path("/etc"), Path("/tmp"), Path("/home"), Path("/root"), Path("/var"))
    for device in ("cpu", "cuda"):
        readable = {path.resolve() for path in readable_paths(device)}
        assert readable.isdisjoint(never)
        assert {root / "trainer", root / "rails"} <= readable
        assert not any((path / ".git").exists() for path in readable)


def test_a_library_path_that_is_a_home_is_not_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "cuda/lib64").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{home}:{home}/cuda/lib64:/:relative")
    readable = readable_paths("cpu")
    assert home / "cuda/lib64" in readable
    assert home not in readable
    assert Path("/") not in readable


def test_other_installations_of_python_are_found(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    for folder in ("python3.99", "tool/bundled/lib/python3.98", "renamed", "numbers/python"):
        (library / folder).mkdir(parents=True)
    (library / "renamed/argparse.py").write_text("")
    found = {str(path.relative_to(library)) for path in other_pythons((library,)) if path.is_relative_to(library)}
    assert found == {"python3.99", "tool/bundled/lib/python3.98", "renamed"}
    running = Path(os.__file__).resolve().parent
    assert running not in other_pythons(readable_paths("cpu"))


def test_the_prepared_ruleset_is_made_once_and_only_where_it_is_needed(permissions: Permissions) -> None:
    if landlock.abi() == 0:
        pytest.skip("this kernel has no Landlock")
    (fd,) = confine.prepare(permissions)
    assert confine.prepare(permissions) == (fd,)
    os.fstat(fd)
    assert confine.prepare(replace(permissions, level=Isolation.L1)) == ()
