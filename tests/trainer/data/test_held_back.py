"""What a trial must not read: held-back files, their copies and compiled forms, other versions of the library."""

import py_compile
import sysconfig
from pathlib import Path

import pytest

from tests.support.corpus import make_corpus
from trainer.data import held_back
from trainer.data.corpus import scan_folder, scan_stdlib
from trainer.data.held_back import compiled_copies, hidden_paths, other_libraries
from trainer.data.prepare import DataSpec, prepare


@pytest.mark.system  # reads all of the library; the others have small corpora
def test_every_held_back_document_of_the_library_is_listed_and_nothing_of_the_training_text() -> None:
    corpus = scan_stdlib()
    hidden = set(hidden_paths(corpus.held_back_files, stdlib=True))
    library = Path(sysconfig.get_paths()["stdlib"]).resolve()
    texts = {text for split in ("val", "test") for text in corpus.texts(split)}
    sources = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
    whole = {path: path.read_bytes() for path in sources}
    found = {path for path, raw in whole.items() if raw.decode(errors="replace") in texts}
    assert len(found) >= len(texts) * 0.9  # files longer than 256 KiB are several documents
    assert found <= hidden
    trained = set(corpus.texts("train"))
    assert not [path for path in hidden if path in whole and whole[path].decode() in trained]


def test_copies_in_the_corpus_are_hidden_with_the_original(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "corpus")
    held = scan_folder(folder).held_back_files
    (folder / "copy.py").write_text(held[0].read_text().replace("    ", "\t"))
    (folder / "zz_copy.txt").write_bytes(held[0].read_bytes())
    again = scan_folder(folder).held_back_files
    assert set(again) == {*held, folder / "copy.py", folder / "zz_copy.txt"}


def test_a_file_of_several_documents_is_hidden_when_one_of_them_is_held_back(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("".join(f"line {n}, and words to fill it\n" for n in range(20_000)))
    assert scan_folder(tmp_path).held_back_files == (tmp_path / "book.txt",)


def test_compiled_copies_of_every_kind(tmp_path: Path) -> None:
    for name in ("held", "held_not"):
        source = tmp_path / f"{name}.py"
        source.write_text("x = 1\n")
        for optimize in (0, 1, 2):
            py_compile.compile(str(source), optimize=optimize)
    copies = compiled_copies(tmp_path / "held.py")
    assert len(copies) == 3 and all(path.name.startswith("held.") for path in copies)
    assert compiled_copies(tmp_path / "held.txt") == []


def test_other_pythons_are_found_and_the_running_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = tmp_path / "versions" / "3.11" / "lib" / "python3.11"
    others = [
        tmp_path / "versions" / "3.12" / "lib" / "python3.12",
        running.parent / "python3.9",
        tmp_path / "versions" / "3.11" / "pkgs" / "python-3.11.4" / "lib" / "python3.11",
    ]
    no_library = running.parent / "python3.10"
    for folder in (running, *others, no_library):
        folder.mkdir(parents=True)
    for folder in (running, *others):
        (folder / "os.py").write_text("")
    monkeypatch.setattr(held_back.sys, "base_prefix", str(tmp_path / "versions" / "3.11"))
    monkeypatch.setattr(held_back, "ANYWHERE", ())
    monkeypatch.setattr(held_back, "running_library", lambda: running)
    assert other_libraries() == sorted(others)


def test_copies_inside_the_librarys_own_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "python3.11"
    vendored = library / "site-packages" / "setuptools" / "_distutils"
    for folder in (library / "ensurepip" / "_bundled", library / "distutils", vendored):
        folder.mkdir(parents=True)
    for name in ("core.py", "cmd.py"):
        (library / "distutils" / name).write_text("")
        (vendored / name).write_text("")
    monkeypatch.setattr(held_back, "running_library", lambda: library)
    found = set(held_back.bundled_copies([library / "distutils" / "core.py"]))
    assert {library / "ensurepip" / "_bundled", vendored / "core.py"} <= found
    assert vendored / "cmd.py" not in found


def test_prepared_data_knows_what_to_hide_wherever_the_corpus_lies(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("one", "moved"):
        folder = make_corpus(tmp_path / name)
        data = prepare(DataSpec(corpus=str(folder), vocab_size=512), cache)
        assert data.hidden and all(path.is_relative_to(folder) for path in data.hidden)
        assert len(data.hidden) == data.val_documents + data.test_documents
    assert data.cached, "the second is the same text in another place"
