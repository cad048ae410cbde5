"""What is found in a candidate before a trial is spent: names that nothing defines, and what it must keep."""

import pytest

from rails.source.contract import broken_contract
from rails.source.names import undefined_use
from rails.source.program import EditError, parse_program
from tests.support.edit_cases import SCRIPT

INCUMBENT = parse_program(SCRIPT)


def names_in(old: str, new: str) -> str | None:
    assert old in SCRIPT
    return undefined_use(INCUMBENT, parse_program(SCRIPT.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("F.relu(h)", "F.relu(g)", "the name 'g' at line 36 is not defined"),
        (
            "lr_scale(session.progress",
            "lr_scales(session.progress",
            "'lr_scales' at line 78 is not defined (did you mean 'lr_scale'?)",
        ),
        ("import math\n", "", "the name 'math' at line 65 is not defined"),
        ("SCALE = 3.0", "SCALE = scale", "the name 'scale' at line 23 is not defined"),
        ("self.head(x)", "self.head(loss)", "the name 'loss'"),  # a local of another function
        ("x = x + block(x)", "x = [y for y in z]", "the name 'z'"),
    ],
)
def test_a_name_that_nothing_defines_is_named_with_its_line(old: str, new: str, reason: str) -> None:
    assert reason in (names_in(old, new) or "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("F.relu(h)", "F.relu((g := h))"),
        ("    return self.head(x)", "    return [head(y) for head, y in [(self.head, x)]][0]"),
        ("SCALE = 3.0", "try:\n    import numpy as np\nexcept ImportError as error:\n    np = print(error)"),
        (
            "def main() -> None:\n",
            "def main() -> None:\n    global LATER\n    LATER = 1\n    print(LATER, __name__, __file__)\n",
        ),
        (
            "        return self.head(x)",
            "        def last() -> Tensor:\n            return self.head(x)\n\n        return last()",
        ),
        ("import math\n", "import math\nfrom os.path import *\n"),
        ("SCALE = 3.0", "class A:\n    one = 1\n    two = one + 1"),
    ],
)
def test_what_python_finds_is_no_undefined_name(old: str, new: str) -> None:
    assert names_in(old, new) is None


def test_what_the_incumbent_lacks_already_is_no_reason() -> None:
    broken = SCRIPT.replace("SCALE = 3.0", "def unused():\n    return nowhere")
    assert undefined_use(parse_program(broken), parse_program(f"{broken}\n\nX = 1\n")) is None


def test_what_parses_but_does_not_compile_is_refused() -> None:
    for new in ("break", "return 1", "def f(a, a): ..."):
        with pytest.raises(EditError, match=r"not valid Python: .* at line 23"):
            names_in("SCALE = 3.0", new)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("from trainer.session import Session", "import trainer.other as Session", "no longer imports trainer.session"),
        ("Session.open()", "Session", "no longer calls Session.open()"),
        ("session.start(params=1, flops_per_token=1.0)", "pass", "no longer calls session.start("),
        ("session.step(loss.item(), inputs.numel())", "pass", "no longer calls session.step("),  # optimizer.step stays
        ("session.finish({}, save=", "print(", "no longer calls session.finish("),
        ("session.finish({}, save=lambda file: torch.save(model.state_dict(), file))", "session.finish({})", "save=…"),
        ("torch.load(session.saved_state())", "{}", "no longer calls session.saved_state()"),
        ("session.serve(", "print(", "no longer calls session.serve("),
        ("Session.open(), Knobs()", "Session.open(), None", "no longer makes Knobs()"),
    ],
)
def test_a_candidate_keeps_what_ties_it_to_its_session(old: str, new: str, reason: str) -> None:
    assert old in SCRIPT
    assert reason in (broken_contract(INCUMBENT, parse_program(SCRIPT.replace(old, new)), "Knobs") or "")


def test_calls_may_move_and_be_written_otherwise() -> None:
    source = SCRIPT.replace("session", "s").replace("trainer.s ", "trainer.session ")
    source = source.replace("s.step(loss.item(), inputs.numel())", "s.step(*[loss.item(), 1])")
    source = source.replace("s.start(params=1, flops_per_token=1.0)", "s.start(**dict(params=1, flops_per_token=1.0))")
    assert broken_contract(INCUMBENT, parse_program(source), "Knobs") is None
    # What the incumbent does not do is asked of nobody.
    other = parse_program("class Knobs:\n    x: int = 1\n")
    assert broken_contract(other, other, "Knobs") is None
