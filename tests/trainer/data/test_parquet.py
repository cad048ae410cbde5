"""Parquet shards: the pinned one is held back, copies of it too, and what is wrong has a name."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rails.errors import UserError
from tests.support.flaky_server import Site, serve
from trainer.data import download
from trainer.data.parquet import ParquetCorpus, open_parquet
from trainer.data.prepare import DataSpec, prepare
from trainer.data.shards import SPLITS, open_documents
from trainer.data.tokenizer import Tokenizer


def document(shard: int, row: int) -> str:
    return f"shard {shard} has a row {row}:\n" + f"its text says {shard * row} and {shard + row} again. " * 5


def write_shard(path: Path, texts: list[str | None], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": list(range(len(texts))), column: pa.array(texts, pa.string())})
    pq.write_table(table, path, row_group_size=50)
    return path


def make_shards(folder: Path, shards: int = 3, rows: int = 120) -> Path:
    for shard in range(shards):
        write_shard(folder / f"shard_{shard:05d}.parquet", [document(shard, row) for row in range(rows)])
    return folder


def opened(source: object, cache: Path, shards: int = 0, val_shard: int | None = None) -> ParquetCorpus:
    return open_parquet(str(source), shards=shards, val_shard=val_shard, cache=cache)


@pytest.fixture(autouse=True)
def _quick_and_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0.001)


def shards_of(texts: Iterable[str]) -> set[str]:
    return {text.split(" has")[0] for text in texts}


def test_the_last_shard_is_held_back(tmp_path: Path) -> None:
    corpus = opened(make_shards(tmp_path), tmp_path)
    assert list(corpus.texts("train")) == [document(shard, row) for shard in (0, 1) for row in range(120)]
    held = list(corpus.texts("val")), list(corpus.texts("test"))
    assert sorted(held[0] + held[1]) == sorted(document(2, row) for row in range(120))
    assert min(map(len, held)) > 30
    assert corpus.skipped == {}


def test_copies_of_held_back_text_are_not_trained_on(tmp_path: Path) -> None:
    folder = make_shards(tmp_path)
    copies: list[str | None] = [
        document(2, 5),
        document(2, 6).replace(" ", "\n "),
        document(0, 7),
        "",
        None,
        " \n",
        "new",
    ]
    write_shard(folder / "shard_00001.parquet", copies)
    corpus = opened(folder, tmp_path)
    assert list(corpus.texts("train")) == [*(document(0, row) for row in range(120)), "new"]
    assert list(corpus.texts("train"))[-1] == "new"
    assert corpus.skipped == {"duplicate": 3, "empty": 3}


def test_fewer_shards_keep_the_pinned_one(tmp_path: Path) -> None:
    folder = make_shards(tmp_path, 5)
    few, many = opened(folder, tmp_path, 2), opened(folder, tmp_path)
    assert list(few.texts("val")) == list(many.texts("val"))
    assert shards_of(few.texts("train")) == {"shard 0"}
    assert few.sha256 != many.sha256


@pytest.mark.parametrize(
    ("address", "shards", "val_shard", "trained", "held"),
    [
        ("", 3, None, {"shard 0", "shard 1"}, {"shard 2"}),
        ("/", 2, None, {"shard 0"}, {"shard 1"}),
        ("/shard_{index:05d}.parquet", 3, 4, {"shard 0", "shard 1"}, {"shard 4"}),
        ("/shard_{index:05d}.parquet", 3, 0, {"shard 1", "shard 2"}, {"shard 0"}),
    ],
)
def test_shards_at_an_address(
    tmp_path: Path, address: str, shards: int, val_shard: int | None, trained: set[str], held: set[str]
) -> None:
    folder = make_shards(tmp_path / "remote", 5, 20)
    site = Site(files={path.name: path.read_bytes() for path in folder.iterdir()}, faults=["drop", 503, "corrupt"])
    with serve(site):
        corpus = opened(site.url + address, tmp_path / "cache", shards, val_shard)
        assert shards_of(corpus.texts("train")) == trained
        assert shards_of([*corpus.texts("val"), *corpus.texts("test")]) == held
        asked = len(site.asked)
        opened(site.url + address, tmp_path / "cache", shards, val_shard)
        assert len(site.asked) == asked


def test_other_names_at_an_address(tmp_path: Path) -> None:
    files = {f"part-{index}.pq": write_shard(tmp_path / "x", [document(index, 0)]).read_bytes() for index in range(2)}
    with serve(Site(files=files)) as site:
        corpus = opened(f"{site.url}/part-{{index}}.pq", tmp_path, 2)
        assert shards_of(corpus.texts("train")) == {"shard 0"}


def test_prepare_takes_an_address(tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "remote")
    with serve(Site(files={path.name: path.read_bytes() for path in folder.iterdir()})) as site:
        data = prepare(DataSpec(corpus=f"parquet:{site.url}", vocab_size=300, shards=3), tmp_path / "cache")
    tokenizer = Tokenizer.load(data.private_dir / "tokenizer.json", 300)
    assert sorted(tokenizer.decode(ids.tolist()) for ids in open_documents(data.train_dir)) == sorted(
        document(shard, row) for shard in (0, 1) for row in range(120)
    )
    assert data.val_documents + data.test_documents == 120
    assert data.train_bytes == sum(len(document(shard, row)) for shard in (0, 1) for row in range(120))
    local = prepare(DataSpec(corpus=f"parquet:{folder}", vocab_size=300), tmp_path / "cache")
    assert local.cached and local.key == data.key
    assert {split: getattr(local, f"{split}_bytes") for split in SPLITS}["val"] > 1000


def test_strings_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    folder = make_shards(tmp_path)
    buffers = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary()).buffers()
    bad = pa.Array.from_buffers(pa.string(), 3, buffers)
    pq.write_table(pa.table({"text": bad}), folder / "shard_00000.parquet")
    corpus = opened(folder, tmp_path)
    assert list(corpus.texts("train"))[:2] == ["good", "fine"]
    assert corpus.skipped == {"not_utf8": 1}


def test_no_text_column(tmp_path: Path) -> None:
    folder = make_shards(tmp_path)
    write_shard(folder / "shard_00001.parquet", ["a"], column="content")
    with pytest.raises(UserError, match=r"no text column.*id \(int64\), content \(string\)"):
        opened(folder, tmp_path)
    pq.write_table(pa.table({"text": [1, 2]}), folder / "shard_00001.parquet")
    with pytest.raises(UserError, match=r"no text column.*text \(int64\)"):
        opened(folder, tmp_path)


def test_a_damaged_shard_has_a_name(tmp_path: Path) -> None:
    folder = make_shards(tmp_path)
    path = folder / "shard_00000.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(UserError, match="not a whole Parquet file") as caught:
        opened(folder, tmp_path)
    assert caught.value.where == str(path)
    path.write_bytes(raw[:4] + bytes(len(raw) // 2) + raw[4 + len(raw) // 2 :])
    with pytest.raises(UserError, match="the shard is damaged"):
        list(opened(folder, tmp_path).texts("train"))


@pytest.mark.parametrize(
    ("source", "shards", "message"),
    [
        ("{folder}/nowhere", 0, "no such folder"),
        ("{folder}", 4, "4 shards were asked for and there are 3"),
        ("{folder}", 1, "found 1 Parquet shards"),
        ("{folder}/empty", 0, "found 0 Parquet shards"),
        ("http://127.0.0.1:9", 0, "needs a number of shards"),
        ("http://127.0.0.1:9", 1, "needs a number of shards"),
        ("http://127.0.0.1:9", 2, "could not download.*refused"),
    ],
)
def test_shards_that_cannot_be_had(tmp_path: Path, source: str, shards: int, message: str) -> None:
    make_shards(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        opened(source.format(folder=tmp_path), tmp_path, shards)
