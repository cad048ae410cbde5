"""Starting a trial's process: what it is told, and the two ends of what connects it to the loop."""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

from trainer.launch.child import Child
from trainer.launch.launcher import Launcher
from trainer.sandbox import processes
from trainer.trial.channel import Channel
from trainer.trial.spec import TrialSpec
from trainer.trial.wire import SPEC_VARIABLE, ChildSpec

PROGRAM = "train.py"


def start(
    spec: TrialSpec, launcher: Launcher, scratch: Path, memory_fd: int, state_fd: int, *, replica: bool
) -> tuple[Child, Channel]:
    """Start the program that lies in `scratch`, and return when it is confined.

    Args:
        spec: what to run.
        launcher: starts it.
        scratch: its own folder, with the program in it.
        memory_fd: the memory that it is asked in.
        state_fd: where it saves its state, or what it loads as a replica.
        replica: whether it loads and answers, instead of training.

    Raises:
        HaltError: the machine cannot start a process, or not confine it.
        OSError: likewise.
    """
    layout = spec.layout
    with ExitStack() as ours, ExitStack() as theirs:
        control, their_control = socket.socketpair()
        ours.callback(control.close)
        theirs.callback(their_control.close)
        output, their_output = os.pipe()
        ours.callback(os.close, output)
        theirs.callback(os.close, their_output)
        told = ChildSpec(
            seed=spec.seed,
            budget=spec.one_step_of or spec.budget,
            device=spec.device,
            threads=spec.threads,
            eval_rows=layout.rows,
            eval_seq_len=spec.eval_seq_len,
            vocab_size=spec.vocab_size,
            control_fd=processes.FIRST_FD,
            shm_fd=processes.FIRST_FD + 1,
            state_fd=processes.FIRST_FD + 2,
            replica=replica,
            one_step=spec.one_step_of is not None,
        )
        child = launcher.launch(
            scratch / PROGRAM,
            spec.permissions(scratch),
            processes.scrubbed_environment(scratch, spec.threads, {SPEC_VARIABLE: told.to_json()}),
            their_output,
            (their_control.fileno(), memory_fd, state_fd),
        )
        ours.pop_all()
        return child, Channel(control, output, child)
