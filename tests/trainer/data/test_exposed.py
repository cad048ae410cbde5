"""Text that stands elsewhere for trials to read is not held back, and the same text keeps its splits ever after."""

import gzip
import json
import py_compile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rails.errors import UserError
from tests.support.corpus import make_corpus
from trainer.data.corpus import FileCorpus, scan_folder
from trainer.data.exposed import find_exposed
from trainer.data.in_sight import InSight
from trainer.data.prepare import DataSpec, PreparedData, prepare

SPLITS = ("val", "test")


def sight(*places: Path) -> InSight:
    return InSight(readable=places)


def prepared(folder: Path, cache: Path, in_sight: InSight, pins: Path | None = None) -> PreparedData:
    return prepare(DataSpec(corpus=str(folder), vocab_size=300), cache, None, in_sight, pins)


def held(corpus: FileCorpus) -> list[str]:
    return [text for split in SPLITS for text in corpus.texts(split)]


def copy_lines(text: str) -> str:
    """Lines of a document as another project might have them: shifted, and with other text between them."""
    return "\n".join(f"\t\t{line.strip()} \r\n# of ours" for line in text.splitlines())


@pytest.fixture
def corpus(tmp_path: Path) -> FileCorpus:
    return scan_folder(make_corpus(tmp_path / "corpus"))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "lib"
    folder.mkdir()
    return folder


def test_what_stands_elsewhere_is_not_held_back_and_something_else_is(tmp_path: Path, library: Path) -> None:
    folder = make_corpus(tmp_path / "corpus", files=400, functions=4)
    plain = scan_folder(folder)
    for index, text in enumerate(held(plain)[::2]):
        (library / f"copy_{index}.py").write_text(copy_lines(text))
    found = find_exposed(plain, sight(library), stdlib=False)
    spared = plain.sparing(frozenset(bytes.fromhex(each.mark) for each in found))
    assert not set(held(spared)) & set(held(plain)[::2])
    assert set(held(plain)[::2]) <= set(spared.texts("train"))
    for split in SPLITS:
        size, before = (sum(map(len, each.texts(split))) for each in (spared, plain))
        assert before <= size < 1.2 * before
    assert not {*find_exposed(spared, sight(library), stdlib=False)} - {*found}
    assert spared.sha256 != plain.sha256 == scan_folder(folder).sha256


@pytest.mark.parametrize(("shared", "exposed"), [(2, False), (3, False), (4, True)])
def test_a_few_shared_lines_are_chance(tmp_path: Path, library: Path, shared: int, exposed: bool) -> None:
    """Of a hundred lines; the share that is allowed is three."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for document in range(60):
        lines = [f"line {line} of document {document}, and words to fill it" for line in range(100)]
        (folder / f"{document}.txt").write_text("\n".join([*lines, "a line that all of them have in common"]))
    corpus = scan_folder(folder)
    for document in corpus.held_back:
        copied = document.read().splitlines()[-1 - shared :]
        (library / document.path.name).write_text("\n".join(copied))
    found = find_exposed(corpus, sight(library), stdlib=False)
    assert {each.mark for each in found} == ({each.mark.hex() for each in corpus.held_back} if exposed else set())
    assert all((each.lines, each.found) == (100, shared) for each in found)


def _compiled(text: str, library: Path) -> None:
    source = library / "gone.py"
    source.write_text(f"'''A module.\n{text}\n'''\n")
    py_compile.compile(str(source), cfile=str(library / "gone.pyc"), doraise=True)
    source.unlink()


def _archived(text: str, library: Path) -> None:
    with zipfile.ZipFile(library / "bundled.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/module.py", text)


def _native(text: str, library: Path) -> None:
    (library / "libpython3.so.1").write_bytes(b"\x7fELF\0\0" + text.encode())


@pytest.mark.parametrize(
    "write",
    [
        _compiled,
        _archived,
        _native,
        lambda text, library: (library / "text.gz").write_bytes(gzip.compress(text.encode())),
        lambda text, library: (library / "README").write_text(text),
    ],
    ids=["compiled", "archived", "frozen", "compressed", "any name"],
)
def test_where_text_may_stand(corpus: FileCorpus, library: Path, write: Callable[[str, Path], object]) -> None:
    document = corpus.held_back[0]
    write(document.read(), library)
    (found,) = find_exposed(corpus, sight(library), stdlib=False)
    assert found.mark == document.mark.hex() and found.document == str(document.path)
    assert Path(found.where).parent == library


def test_what_a_trial_cannot_read_and_the_corpus_itself_expose_nothing(corpus: FileCorpus, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "copy.py").write_text(corpus.held_back[0].read())
    (tmp_path / "picture").write_bytes(b"PNG\0" + corpus.held_back[0].read().encode())
    for path in corpus.held_back_files:
        py_compile.compile(str(path), doraise=True)
    assert find_exposed(corpus, sight(tmp_path), stdlib=False)
    hidden = InSight(readable=(tmp_path,), hidden=frozenset({tmp_path / "lib"}))
    assert find_exposed(corpus, hidden, stdlib=False) == ()


def test_the_same_text_keeps_its_splits_while_packages_come_and_go(tmp_path: Path, library: Path) -> None:
    folder = make_corpus(tmp_path / "corpus")
    texts = held(scan_folder(folder))
    (library / "one.py").write_text(texts[0])
    first = prepared(folder, tmp_path / "cache", sight(library), tmp_path / "workspace")
    (library / "one.py").unlink()
    (library / "two.py").write_text(texts[1])
    assert first.exposed == 1
    again = prepared(folder, tmp_path / "cache", sight(library))
    assert again.cached and again.key == first.key and again.corpus_sha256 == first.corpus_sha256
    elsewhere = prepared(folder, tmp_path / "other machine", sight(library), tmp_path / "workspace")
    assert elsewhere.key == first.key
    fresh = prepared(folder, tmp_path / "third machine", sight(library))
    assert fresh.key != first.key and fresh.corpus_sha256 != first.corpus_sha256
    (exposed,) = json.loads((fresh.private_dir / "meta.json").read_text())["exposed"]
    assert exposed["where"] == str(library / "two.py")
    assert "exposed" not in (fresh.train_dir / "meta.json").read_text()


def test_a_damaged_finding_is_made_anew(tmp_path: Path, library: Path) -> None:
    folder = make_corpus(tmp_path / "corpus")
    (library / "one.py").write_text(held(scan_folder(folder))[0])
    first = prepared(folder, tmp_path / "cache", sight(library))
    (path,) = (tmp_path / "cache" / "exposed").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert prepared(folder, tmp_path / "cache", sight(library)).key == first.key
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_text_that_stands_elsewhere_as_a_whole_cannot_be_used(tmp_path: Path, library: Path) -> None:
    folder = make_corpus(tmp_path / "corpus")
    for path in folder.iterdir():
        (library / path.name).write_text(path.read_text())
    with pytest.raises(UserError, match=r"0 bytes in 0 documents.*; 120 documents stand elsewhere"):
        prepared(folder, tmp_path / "cache", sight(library))
