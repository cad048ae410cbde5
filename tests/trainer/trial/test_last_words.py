"""Of a process that has seen questions, the kind of error and its line are kept, and no word of its own."""

import pytest

from trainer.trial.last_words import kind_of_error

START = "Traceback (most recent call last):\n"
PLACE = '  File "/scratch/trial-1/train.py", line 12, in main\n    model(x)\n'
LIBRARY = '  File "/lib/torch/nn/modules/module.py", line 1736, in _call\n'


@pytest.mark.parametrize(
    ("log", "kept"),
    [
        ("", ""),
        ("secret", ""),
        (START + PLACE + LIBRARY + "ValueError: secret\n", "ValueError at line 12 of train.py"),
        (START + PLACE + "ValueError\n", "ValueError at line 12 of train.py"),
        (START + PLACE + "numpy.linalg.LinAlgError: secret", "numpy.linalg.LinAlgError at line 12 of train.py"),
        (START + PLACE + "__main__.Secret: secret", "an exception of its own at line 12 of train.py"),
        (START + PLACE + "secret", "an exception of its own at line 12 of train.py"),
        (START + PLACE + "print: secret", "an exception of its own at line 12 of train.py"),
        (START + PLACE.replace("12", "101") + "ValueError: x", "ValueError"),
        (START + PLACE.replace("12", "0012345678901") + "ValueError: x", "ValueError"),
        (START + "  secret\n", "an exception of its own"),
        (START + PLACE + "ValueError: a\n\nDuring it:\n\n" + START + LIBRARY + "KeyError: b\n", "KeyError"),
    ],
)
def test_kind_of_error(log: str, kept: str) -> None:
    assert kind_of_error(log, "train.py", 100) == kept
