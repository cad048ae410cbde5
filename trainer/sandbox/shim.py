"""The last thing that runs before untrusted code: limit this process, then become the program.

Run as `python -I -S shim.py PARENT_PID LIMITS FDS PROGRAM ARGUMENT…`, where PARENT_PID is 0 when the process
may outlive its parent, LIMITS is `number=value,…` for setrlimit, and FDS are the descriptors `n,…` that the program
gets, in this order, under the numbers from 3 on. A program of its own, because Python must not run between fork and
exec in a process that has threads. It stands alone and imports little: every trial waits for it.
"""

import fcntl
import os
import resource
import sys

PR_SET_PDEATHSIG, SIGKILL = 1, 9


def main(arguments: list[str]) -> None:
    """Apply the limits and replace this process by the program."""
    parent, limits, fds, program = int(arguments[0]), arguments[1], arguments[2], arguments[3:]
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            raise SystemExit("the loop that started this trial is gone")
    for limit in limits.split(","):
        number, value = map(int, limit.split("="))
        hard = resource.getrlimit(number)[1]
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (ceiling, ceiling))
    # Out of the way first: a descriptor may have the number that another one is to get.
    given = [int(fd) for fd in fds.split(",") if fd]
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, 3 + len(given)) for fd in given]
    for number, fd in enumerate(above, start=3):
        os.dup2(fd, number)
    os.closerange(3 + len(given), max([2, *given, *above]) + 1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
