"""What a trial must be able to do. See `isolation_program`."""

import contextlib
import importlib
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from tests.support.isolation_tools import SECONDS, honest

# Honest work


@honest()
def compute_with_numpy(facts: dict[str, Any]) -> bool:
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((200, 200))
    return bool(np.allclose(np.linalg.inv(matrix) @ matrix, np.eye(200)))


@honest()
def train_with_torch(facts: dict[str, Any]) -> bool:
    import torch

    layer = torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(4, 8)).sum().backward()
    optimizer.step()
    torch.save(layer.state_dict(), "weights.pt")
    return "weight" in torch.load("weights.pt", weights_only=True)


@honest()
def use_threads(facts: dict[str, Any]) -> bool:
    seen: list[int] = []
    threads = [threading.Thread(target=seen.append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen) == [0, 1, 2, 3]


@honest()
def run_a_program(facts: dict[str, Any]) -> bool:
    done = subprocess.run(["/bin/sh", "-c", "echo hello"], capture_output=True, text=True, check=True)
    return done.stdout == "hello\n"


@honest()
def end_a_child(facts: dict[str, Any]) -> bool:
    child = os.fork()
    if child == 0:
        time.sleep(SECONDS)
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@honest()
def signal_itself(facts: dict[str, Any]) -> bool:
    got: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    signal.raise_signal(signal.SIGUSR1)
    return got == [signal.SIGUSR1]


@honest()
def write_in_scratch(facts: dict[str, Any]) -> bool:
    os.makedirs("a/b")
    with open("a/b/file", "w") as file:
        file.write("text")
    os.rename("a/b/file", "a/moved")
    os.link("a/moved", "a/linked")
    os.symlink("moved", "a/symbolic")
    os.truncate("a/moved", 2)
    with open("a/symbolic") as file:
        return file.read() == "te"


@honest()
def make_temporary_files(facts: dict[str, Any]) -> bool:
    with tempfile.TemporaryFile() as one, tempfile.NamedTemporaryFile() as two, tempfile.TemporaryDirectory() as three:
        one.write(b"x")
        two.write(b"x")
        return os.path.isdir(three)


@honest()
def use_memory_files(facts: dict[str, Any]) -> bool:
    fd = os.memfd_create("mine")
    os.write(fd, b"text")
    with mmap.mmap(fd, 4) as mapped, open(f"/proc/self/fd/{fd}", "rb") as again:
        return mapped[:] == again.read() == b"text"


@honest()
def read_about_the_machine(facts: dict[str, Any]) -> bool:
    for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", "/dev/urandom"):
        with open(path, "rb") as file:
            file.read(64)
    return True


@honest("L3")
def read_about_a_child(facts: dict[str, Any]) -> bool:
    """It is one itself. At L2 only the trial's first process can be read, see `own_process`."""
    with open("/proc/self/status") as status:
        return bool(status.read()) and bool(os.listdir("/proc/self/fd"))


@honest()
def give_memory_back(facts: dict[str, Any]) -> bool:
    with mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for advice in (mmap.MADV_DONTNEED, mmap.MADV_FREE, mmap.MADV_HUGEPAGE, mmap.MADV_WILLNEED, mmap.MADV_RANDOM):
            memory.madvise(advice)
    return True


@honest()
def read_in_parts(facts: dict[str, Any]) -> bool:
    part = bytearray(4)
    with open(os.__file__, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return os.preadv(file.fileno(), [part], 0) == 4


@honest()
def copy_with_modes(facts: dict[str, Any]) -> bool:
    with open("one", "w") as file:
        file.write("text")
    shutil.copy2("one", "two")
    shutil.copytree(".", "../copied")
    with open("../copied/two") as file:
        return file.read() == "text"


@honest()
def write_to_devices(facts: dict[str, Any]) -> bool:
    with open("/dev/null", "w") as null, open("/dev/zero", "rb") as zero:
        null.write("x")
        return zero.read(2) == b"\0\0"


@honest()
def import_from_the_library(facts: dict[str, Any]) -> bool:
    sys.path.insert(0, facts["library"])
    fresh = importlib.import_module("fractions").Fraction(1, 2)
    return importlib.import_module("visible").ANSWER == 42 and fresh == 0.5


@honest()
def pair_sockets(facts: dict[str, Any]) -> bool:
    one, two = socket.socketpair()
    one.sendall(b"x")
    return two.recv(1) == b"x"


@honest()
def know_its_user(facts: dict[str, Any]) -> bool:
    import pwd

    with contextlib.suppress(KeyError):  # a user without an entry is a user too
        pwd.getpwuid(os.getuid())
    return bool(time.localtime())


@honest()
def wait_with_asyncio(facts: dict[str, Any]) -> bool:
    import asyncio

    async def work() -> int:
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
        return await process.wait()

    return asyncio.run(work()) == 3


@honest("L3")
def load_data_with_workers(facts: dict[str, Any]) -> bool:
    import torch

    loader = torch.utils.data.DataLoader(torch.arange(64), batch_size=8, num_workers=2)  # type: ignore[arg-type]
    return int(sum(batch.sum() for batch in loader)) == 2016


@honest("L3")
def share_a_tensor(facts: dict[str, Any]) -> bool:
    import torch

    tensor = torch.zeros(1000).share_memory_()
    child = os.fork()
    if child == 0:
        tensor += 1
        os._exit(0)
    os.waitpid(child, 0)
    return float(tensor.sum()) == 1000.0


@honest("L3")
def use_tmp_and_shared_memory(facts: dict[str, Any]) -> bool:
    for place in ("/tmp/x", "/dev/shm/x"):
        with open(place, "w") as file:
            file.write("x")
    return True


@honest("L3")
def use_own_unix_sockets(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("mine.sock")
        server.listen()
        client.connect("mine.sock")
        return True
