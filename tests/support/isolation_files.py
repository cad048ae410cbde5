"""Attacks on files: writing and reading outside. See `isolation_program`."""

import contextlib
import fcntl
import glob
import importlib
import os
import subprocess
import sys
from typing import Any

from tests.support.isolation_tools import attack, call, target

# Writing outside


@attack("L2")
def write_evaluator(facts: dict[str, Any]) -> None:
    with open(target(facts, "write_evaluator"), "w") as file:
        file.write("after")


@attack("L2")
def write_dotfile(facts: dict[str, Any]) -> None:
    with open(target(facts, ".bashrc"), "a") as file:
        file.write("after")


@attack("L2")
def write_own_packages(facts: dict[str, Any]) -> bool:
    with open(f"{facts['project']}/trainer/__init__.py", "r+"):
        return True


@attack("L2")
def write_interpreter(facts: dict[str, Any]) -> bool:
    with open(os.path.realpath(sys.executable), "r+b"):
        return True


@attack("L2")
def make_hook(facts: dict[str, Any]) -> None:
    with open(target(facts, "hooks") + "/post-commit", "w") as file:
        file.write("after")


@attack("L2")
def write_through_symlink(facts: dict[str, Any]) -> None:
    os.symlink(target(facts, "write_through_symlink"), "link")
    with open("link", "w") as file:
        file.write("after")


@attack("L2")
def write_through_hard_link(facts: dict[str, Any]) -> None:
    os.link(target(facts, "write_through_hard_link"), "hard")
    with open("hard", "w") as file:
        file.write("after")


@attack("L2")
def rename_over(facts: dict[str, Any]) -> None:
    with open("mine", "w") as file:
        file.write("after")
    os.rename("mine", target(facts, "rename_over"))


@attack("L2")
def unlink_outside(facts: dict[str, Any]) -> None:
    os.unlink(target(facts, "unlink_outside"))


@attack("L2")
def truncate_outside(facts: dict[str, Any]) -> None:
    os.truncate(target(facts, "truncate_outside"), 0)


@attack("L2")
def truncate_while_opening_for_reading(facts: dict[str, Any]) -> None:
    os.open(f"{facts['library']}/truncated", os.O_RDONLY | os.O_TRUNC)


@attack("L2")
def truncate_while_opening_for_nothing(facts: dict[str, Any]) -> None:
    os.open(f"{facts['library']}/truncated", os.O_ACCMODE | os.O_TRUNC)


@attack("L2")
def chmod_outside(facts: dict[str, Any]) -> None:
    os.chmod(target(facts, "chmod_outside"), 0o777)


@attack("L2")
def chmod_readable(facts: dict[str, Any]) -> None:
    path = f"{facts['library']}/readable"
    with contextlib.suppress(OSError):
        os.chmod(path, 0o777)
    with contextlib.suppress(OSError):
        os.fchmod(os.open(path, os.O_RDONLY), 0o777)
    call(452, 452, -100, path.encode(), 0o777, 0)  # fchmodat2


@attack("L2")
def change_times(facts: dict[str, Any]) -> None:
    os.utime(f"{facts['library']}/readable", (1, 1))


@attack("L2")
def change_attributes(facts: dict[str, Any]) -> bool:
    flags = bytearray(8)
    with open(f"{facts['library']}/readable") as file:
        fcntl.ioctl(file, 0x80086601, flags)  # GETFLAGS
        fcntl.ioctl(file, 0x40086602, bytes([flags[0] | 0x40, *flags[1:]]))  # SETFLAGS: no dump
    return True


@attack("L2")
def set_extended_attribute(facts: dict[str, Any]) -> bool:
    os.setxattr(f"{facts['library']}/readable", "user.note", b"kept for the next trial")
    return True


@attack("L2")
def leave_setuid_program(facts: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open("setuid-made", os.O_CREAT | os.O_WRONLY, 0o4755))
    with open("setuid-changed", "w"):
        pass
    os.chmod("setuid-changed", 0o4755)


@attack("L2")
def leave_in_tmp(facts: dict[str, Any]) -> None:
    with open(facts["left_in_tmp"], "w") as file:
        file.write("weights")


@attack("L2")
def leave_in_shared_memory(facts: dict[str, Any]) -> None:
    with open(facts["left_in_shm"], "w") as file:
        file.write("weights")


@attack("L3")
def leave_an_access_time(facts: dict[str, Any]) -> bool:
    """At L2 the kernel notes that a file of a library was read, once in a day."""
    path = f"{facts['library']}/never_read"
    before = os.stat(path).st_atime_ns
    with open(path) as file:
        file.read()
    return os.stat(path).st_atime_ns != before


@attack("L3")
def fill_the_root(facts: dict[str, Any]) -> bool:
    for place in ("/x", "/dev/x", "/etc/x", "/usr/x", f"{facts['outside']}x"):
        with contextlib.suppress(OSError), open(place, "w"):
            return True
    return False


# Reading outside


@attack("L2")
def read_private_data(facts: dict[str, Any]) -> bool:
    with open(f"{facts['private']}/val.bin") as file:
        return bool(file.read())


@attack("L2")
def list_private_data(facts: dict[str, Any]) -> bool:
    return bool(os.listdir(facts["private"]))


@attack("L2")
def read_by_reopening(facts: dict[str, Any]) -> bool:
    fd = os.open(f"{facts['private']}/val.bin", os.O_PATH)
    with open(f"/proc/self/fd/{fd}") as file:
        return bool(file.read())


@attack("L2")
def read_by_program(facts: dict[str, Any]) -> bool:
    command = ["/bin/cat", f"{facts['private']}/val.bin"]
    return b"secret" in subprocess.run(command, capture_output=True, check=False).stdout


@attack("L2")
def read_other_scratch(facts: dict[str, Any]) -> bool:
    with open(f"{facts['other_scratch']}/weights") as file:
        return bool(file.read())


@attack("L2")
def read_home(facts: dict[str, Any]) -> bool:
    return bool(os.listdir(facts["home"]))


@attack("L2")
def read_repository(facts: dict[str, Any]) -> bool:
    with open(f"{facts['project']}/pyproject.toml") as file:
        return bool(file.read())


@attack("L2")
def read_tmp(facts: dict[str, Any]) -> bool:
    with open(facts["secret_in_tmp"]) as file:
        return bool(file.read())


@attack("L2")
def read_hidden_file(facts: dict[str, Any]) -> bool:
    for place in facts["hidden_places"]:
        with contextlib.suppress(OSError), open(place) as file:
            if "SECRET" in file.read():
                return True
    return False


@attack("L2")
def read_hidden_bytecode(facts: dict[str, Any]) -> bool:
    for place in glob.glob(f"{facts['library']}/__pycache__/hidden.*"):
        with contextlib.suppress(OSError), open(place, "rb") as file:
            if b"SECRET" in file.read():
                return True
    return False


@attack("L2")
def import_hidden(facts: dict[str, Any]) -> bool:
    sys.path.insert(0, facts["library"])
    try:
        return bool(importlib.import_module("hidden").SECRET)
    except ImportError:
        return False


@attack("L2")
def read_hidden_folder(facts: dict[str, Any]) -> bool:
    with open(f"{facts['library']}/hidden_folder/text") as file:
        return bool(file.read())


@attack("L2")
def read_other_python(facts: dict[str, Any]) -> bool:
    for folder in facts["other_pythons"]:
        for path in glob.glob(f"{folder}/*.py"):
            with contextlib.suppress(OSError), open(path) as file:
                return bool(file.read())
    return False


@attack("L2")
def read_environment_of_the_loop(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/environ", "rb") as file:
        return b"SECRET" in file.read()


@attack("L2")
def read_memory_of_the_loop(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/mem", "rb") as file:
        return file.readable()


@attack("L2")
def read_descriptors_of_the_loop(facts: dict[str, Any]) -> bool:
    return any(os.readlink(path) for path in glob.glob(f"/proc/{facts['loop']}/fd/*"))


@attack("L2")
def read_through_root_of_the_loop(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/root{facts['private']}/val.bin") as file:
        return bool(file.read())


@attack("L2")
def read_a_disk(facts: dict[str, Any]) -> bool:
    for disk in glob.glob("/dev/[vsn][dv][a-m]*"):
        with contextlib.suppress(OSError), open(disk, "rb"):
            return True
    return False
