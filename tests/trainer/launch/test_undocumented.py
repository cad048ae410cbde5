"""Modules whose files are held back can be imported by a trial, but their text is nowhere in it."""

import sysconfig
from pathlib import Path

import pytest

from tests.trainer.launch.test_launcher import run
from trainer.launch.launcher import Launcher
from trainer.launch.undocumented import importable
from trainer.sandbox.levels import Isolation

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
HIDDEN = tuple(
    LIBRARY / name for name in ("colorsys.py", "json/decoder.py", "textwrap.py", "wsgiref/util.py", "this.py")
)


def test_names_of_modules_follow_from_their_files(tmp_path: Path) -> None:
    files = [LIBRARY / "json/__init__.py", LIBRARY / "json/decoder.py", LIBRARY / "idlelib/run.py", LIBRARY / "this.py"]
    files += [LIBRARY / "site-packages/x.py", LIBRARY / "LICENSE.txt", LIBRARY / "not-a-name.py", tmp_path / "x.py"]
    files += [LIBRARY / "wsgiref/util.py", LIBRARY / "unittest/__main__.py", LIBRARY / "json/__pycache__/x.pyc"]
    assert importable(files, [LIBRARY]) == ["json", "json.decoder", "wsgiref.util"]


SEARCH = """
import gc, sys, types
import colorsys, json.decoder, textwrap, wsgiref.util, dataclasses
found = []
for module in (colorsys, json.decoder, textwrap, wsgiref.util):
    found.append(module.__doc__)
    for thing in vars(module).values():
        if isinstance(thing, (types.FunctionType, type)) and thing.__module__ == module.__name__:
            found.append(thing.__doc__)
            for inner in vars(thing).values() if isinstance(thing, type) else ():
                found.append(inner.__doc__ if isinstance(inner, types.FunctionType) else None)
print([text for text in found if text], "colorsys" in sys.modules, "this" in sys.modules)
print(textwrap.fill("a b c", 3).split(), json.loads("[1]"), colorsys.rgb_to_hsv(0, 0, 0), bool(dataclasses.__doc__))
print(colorsys.rgb_to_hls.__code__.co_firstlineno > 30, [text for code in (textwrap.dedent.__code__,)
      for text in code.co_consts if isinstance(text, str) and len(text) > 40])
"""


def test_hidden_modules_are_there_without_their_documentation(tmp_path: Path) -> None:
    with Launcher(threads=1, preload=("numpy",), hidden=HIDDEN) as launcher:
        assert run(launcher, Isolation.L1, tmp_path / "scratch", SEARCH) == (
            0,
            "[] True False\n['a', 'b', 'c'] [1] (0.0, 0.0, 0) False\nTrue []\n",
        )


@pytest.mark.slow
def test_whatever_is_held_back_torch_still_works(tmp_path: Path) -> None:
    left_out = {"test", "tests", "idle_test", "site-packages", "encodings", "ensurepip"}
    hidden = [path for path in LIBRARY.rglob("*.py") if not left_out & set(path.parts)]
    code = (
        "import sys, torch; print(torch.ones(2).sum().item(), len(sys.modules) > 1000, torch.optim.AdamW.__doc__ > '')"
    )
    with Launcher.for_program(code, threads=1, hidden=hidden) as launcher:
        assert run(launcher, Isolation.L1, tmp_path / "scratch", code) == (0, "2.0 True True\n")
