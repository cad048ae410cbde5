"""Ignore the end of children, so that the kernel forgets what they used, and have them train."""

from cli.attacks.programs.common import Logits, Tokens, forked, honest, libc, module, trained_by, when_done


def main() -> None:
    forget_the_dead()
    session, model = trained_by(lambda piece: when_done(forked, piece))

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def forget_the_dead() -> None:
    """By a flag, which no file of /proc shows: as by ignoring their signal, which one does."""
    ctypes, no_child_wait = module("ctypes"), 2

    class Action(ctypes.Structure):
        _fields_ = (
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ubyte * 128),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        )

    libc().sigaction(module("signal").SIGCHLD, ctypes.byref(Action(flags=no_child_wait)), None)
