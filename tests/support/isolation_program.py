"""What a trial may try against its isolation, and what it must be able to do: runs as a trial's program.

Each attempt is a function that returns whether it got what it wanted; an `OSError` means that it was stopped. It runs
in a process and a folder of its own. Files outside are looked at from outside afterwards (`tests.support.arena`), so
those attacks return None. `ATTACKS` says from which level on each attack must be stopped, `HONEST` from which level on
each honest thing must work.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from typing import Any

import tests.support.isolation_files  # pyright: ignore[reportUnusedImport]
import tests.support.isolation_honest  # pyright: ignore[reportUnusedImport]
import tests.support.isolation_kernel  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tests.support.isolation_tools import ATTACKS, HONEST, SECONDS, Attempt

# Running them


def tried(attempt: Attempt, facts: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"did": attempt(facts), "note": ""}
    except OSError as error:
        return {"did": False, "note": f"{type(error).__name__}: {error}"}


def apart(name: str, attempt: Attempt, facts: dict[str, Any]) -> None:
    """Run one attempt in a child, in a folder of its own, and print what came of it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        code = 1
        try:
            os.mkdir(name)
            os.chdir(name)
            print(json.dumps({"name": name, **tried(attempt, facts)}), flush=True)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        print(json.dumps({"name": name, "did": None, "note": f"ended with {code}"}), flush=True)


def everything(facts: dict[str, Any]) -> None:
    for name, (_, attempt) in {**ATTACKS, **HONEST}.items():
        if name in facts["names"]:
            apart(name, attempt, facts)


def own_process(facts: dict[str, Any]) -> None:
    """What libraries read about the process that they are in, also when memory has been short for a while."""
    for name in ("status", "maps", "stat", "statm"):
        with open(f"/proc/self/{name}", "rb") as file:
            print(name, bool(file.read()), flush=True)
    print("task", bool(os.listdir("/proc/self/task")), flush=True)
    with open("/proc/thread-self/comm") as file:
        print(file.read().strip(), flush=True)


def inherited(facts: dict[str, Any]) -> None:
    """What comes from the process that all trials are forked from, and could go back to it."""
    with open("/proc/self/maps") as maps:
        shared = [line.strip() for line in maps if line.split()[1].startswith("rw-s")]
    print(json.dumps({"shared": shared, "flags": fcntl.fcntl(0, fcntl.F_GETFL)}), flush=True)
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)


def daemon(facts: dict[str, Any]) -> None:
    """Leave processes behind in every way there is; all of them hold our output open."""
    for again in (0, 1):
        if os.fork() == 0:
            os.setsid()
            if again == 0 or os.fork() == 0:
                for number in range(1, 32):
                    with contextlib.suppress(OSError):
                        signal.signal(number, signal.SIG_IGN)
                time.sleep(600)
            os._exit(0)
    print("left", flush=True)


def fork_bomb(facts: dict[str, Any]) -> None:
    made, note = 0, ""
    try:
        while made < facts["bomb"]:
            if os.fork() == 0:
                time.sleep(600)
            made += 1
    except OSError as error:
        note = str(error)
    print(json.dumps({"made": made, "note": note}), flush=True)


def take_memory(facts: dict[str, Any]) -> None:
    print("taking", flush=True)
    held = [bytearray(os.urandom(1)) * 2**20 for _ in range(facts["mebibytes"])]
    print(f"took {len(held)}", flush=True)


def take_hidden_memory(facts: dict[str, Any]) -> None:
    print("taking", flush=True)
    fd = os.memfd_create("hoard")
    for _ in range(facts["mebibytes"]):
        os.write(fd, b"x" * 2**20)
    print("took it", flush=True)


def main() -> None:
    with open("facts.json") as file:
        told = json.load(file)
    globals()[told["run"]](told)
