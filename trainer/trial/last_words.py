"""What is kept of the end of a process that has seen questions: the kind of its error and the line, not its words.

The questions are held-back text. What such a process prints or says about itself may contain it, and would be read by
whoever proposes a repair.
"""

import builtins
import re

TRACEBACK = "Traceback (most recent call last)"
OF_LIBRARIES = frozenset({
    "numpy.linalg.LinAlgError",
    "torch.OutOfMemoryError",
    "torch.cuda.OutOfMemoryError",
    "torch.AcceleratorError",
    "torch._dynamo.exc.Unsupported",
    "torch._dynamo.exc.InternalTorchDynamoError",
    "torch._dynamo.exc.BackendCompilerFailed",
    "torch._inductor.exc.InductorError",
})  # fmt: skip
"""Exceptions of numpy and torch that a repair should know by name."""
OF_ITS_OWN = "an exception of its own"


def kind_of_error(log: str, program: str, lines: int) -> str:
    """The kind of the last exception that a log shows, and where in the program it came from; empty when it shows none.

    Args:
        log: what the process printed.
        program: the file name of the program.
        lines: how many lines that has.
    """
    if TRACEBACK not in log:
        return ""
    shown = log.rpartition(TRACEBACK)[2].splitlines()[1:]
    last = next((line for line in shown if line and not line.startswith(" ")), "")
    places = re.findall(rf'^  File "[^"\n]*/{re.escape(program)}", line (\d{{1,9}})\b', "\n".join(shown), re.MULTILINE)
    place = int(places[-1]) if places else 0
    where = f" at line {place} of {program}" if 1 <= place <= lines else ""
    return _known(last.partition(":")[0].strip()) + where


def _known(name: str) -> str:
    found = getattr(builtins, name, None) if name.isidentifier() else None
    known = name in OF_LIBRARIES or (isinstance(found, type) and issubclass(found, BaseException))
    return name if known else OF_ITS_OWN
