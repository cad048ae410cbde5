"""Preparing data: nothing held back is trained on, the cache is whole or not there, and what is wrong has a name."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, NamedTuple

import numpy as np
import pytest

from rails.errors import UserError
from tests.support.corpus import make_corpus, tiny_data
from trainer.data.cache import default_cache
from trainer.data.packing import pack
from trainer.data.prepare import DataSpec, PreparedData, main, prepare
from trainer.data.progress import PrepareProgress
from trainer.data.shards import SPLITS, load_eval_set, open_documents
from trainer.data.tokenizer import Tokenizer


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def texts_of(data: PreparedData, split: Literal["train", "val", "test"]) -> list[str]:
    tokenizer = Tokenizer.load(data.private_dir / "tokenizer.json", data.vocab_size)
    folder = data.train_dir if split == "train" else data.private_dir
    return [tokenizer.decode(ids.tolist()) for ids in open_documents(folder, split)]


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "data").iterdir())


PREPARE = """
import os, resource, signal, sys
from pathlib import Path
from trainer.data import cache as data_cache, progress
from trainer.data.prepare import DataSpec, prepare
progress.INTERVAL_S = 1e9  # a report for every 0.2 s would be a step more on a busy machine
corpus, cache, kill_at, most_bytes = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
seen = 0
def step(*_):
    global seen
    seen += 1
    if seen == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
for name in ("mkdtemp", "_sync", "train_dir", "private_dir"):
    where = data_cache.tempfile if name == "mkdtemp" else data_cache
    def counted(*args, original=getattr(where, name), **options):
        result = original(*args, **options)
        step()
        return result
    setattr(where, name, counted)
print(prepare(DataSpec(corpus=corpus, vocab_size=300), Path(cache), step).cached, seen)
"""


class Run(NamedTuple):
    corpus: Path
    cache: Path

    def here(self) -> PreparedData:
        return prepare(DataSpec(corpus=str(self.corpus), vocab_size=300), self.cache)

    def start(self, *, kill_at: int = 0, most_bytes: int = -1) -> subprocess.Popen[str]:
        arguments = [str(self.corpus), str(self.cache), str(kill_at), str(most_bytes)]
        environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-c", PREPARE, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(make_corpus(tmp_path / "corpus", files=40), tmp_path / "cache")


def test_what_was_prepared_is_the_corpus(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    found = sorted(text for split in SPLITS for text in texts_of(data, split))
    assert found == sorted(path.read_text() for path in (tmp_path / "corpus").iterdir())
    for split in SPLITS:
        texts = texts_of(data, split)
        assert getattr(data, f"{split}_documents") == len(texts) > 0
        assert getattr(data, f"{split}_bytes") == sum(len(text.encode()) for text in texts)
    assert data.train_tokens == len(open_documents(data.train_dir).tokens)
    assert data.vocab_size == data.used_ids == data.bos_id + 1 == 512
    assert not data.cached
    for split in ("val", "test"):
        assert load_eval_set(data.private_dir, split, 64, 10**9).total_bytes == getattr(data, f"{split}_bytes")
    inputs, targets = next(pack(open_documents(data.train_dir), 4, 64, 0))
    assert (inputs[:, 0] == data.bos_id).all()
    assert targets.max() < 512


def test_copies_of_held_back_text_never_reach_training(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "corpus")
    first = tiny_data(tmp_path)
    held = [*texts_of(first, "val"), *texts_of(first, "test")]
    for index, text in enumerate(held):
        (folder / f"0_copy_{index}.py").write_text(text)
        (folder / f"z_spaced_{index}.py").write_text(text.replace("\n", "\r\n").replace("    ", "\t"))
    second = tiny_data(tmp_path)
    assert second.skipped == {"duplicate": 2 * len(held)}
    trained = [" ".join(text.split()) for text in texts_of(second, "train")]
    assert not any(" ".join(text.split()) in training for text in held for training in trained)
    assert second.train_documents == first.train_documents


def test_the_tokenizer_has_seen_training_text_only(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    again = Tokenizer.train(texts_of(data, "train"), data.vocab_size)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (data.private_dir / "tokenizer.json").read_bytes()


def test_a_trial_is_given_training_tokens_alone(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    assert sorted(everything(data.train_dir)) == ["meta.json", "train.offsets.bin", "train.tokens.bin"]
    meta = json.loads((data.train_dir / "meta.json").read_text())
    assert not any("val" in name or "test" in name for name in meta)
    assert stat.S_IMODE(data.private_dir.stat().st_mode) == 0o700
    assert data.private_dir not in data.train_dir.parents


def test_twice_is_once(tmp_path: Path) -> None:
    first, second = tiny_data(tmp_path), tiny_data(tmp_path)
    assert second.cached
    assert replace(second, cached=False, seconds=first.seconds) == first


def test_content_and_settings_make_the_key(tmp_path: Path) -> None:
    first = tiny_data(tmp_path)
    other_size = tiny_data(tmp_path, vocab_size=300)
    moved = make_corpus(tmp_path / "elsewhere")
    same = prepare(DataSpec(corpus=str(moved), vocab_size=512), tmp_path / "cache")
    (moved / "more.txt").write_text("one document more")
    more = prepare(DataSpec(corpus=str(moved), vocab_size=512), tmp_path / "cache")
    assert same.cached and same.key == first.key
    assert len({first.key, other_size.key, more.key}) == 3
    assert first.corpus_sha256 == other_size.corpus_sha256 != more.corpus_sha256


def test_the_same_corpus_gives_the_same_files_everywhere(tmp_path: Path) -> None:
    one, other = (tiny_data(tmp_path / name, vocab_size=300) for name in ("one", "other"))
    assert everything(one.train_dir) == everything(other.train_dir)
    assert everything(one.private_dir) == everything(other.private_dir)


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 4
    path.write_bytes(raw)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_a_damaged_entry_is_made_anew(run: Run, runs_all: bool) -> None:
    entry = run.here().train_dir.parent
    good = everything(entry)
    for name in ("train/train.tokens.bin", "train/meta.json", "private/val.offsets.bin", "private/token_bytes.bin"):
        for spoil in (_flip, _truncate, Path.unlink)[: 3 if runs_all else 1]:
            spoil(entry / name)
            assert not run.here().cached, f"{name} after {spoil.__name__}"
            assert everything(entry) == good
            assert run.here().cached
            assert entries(run.cache) == [entry.name]


def test_an_entry_of_other_data_is_made_anew(tmp_path: Path) -> None:
    one, other = tiny_data(tmp_path), tiny_data(tmp_path, vocab_size=300)
    shutil.rmtree(one.private_dir)
    shutil.copytree(other.private_dir, one.private_dir)
    assert not tiny_data(tmp_path).cached
    assert texts_of(tiny_data(tmp_path), "val") == texts_of(other, "val")


@pytest.mark.system
def test_a_kill_at_any_moment_leaves_nothing_that_is_trusted(run: Run, tmp_path: Path, runs_all: bool) -> None:
    reference = Run(run.corpus, tmp_path / "reference")
    out, err = reference.start().communicate()
    cached, steps = out.split()
    assert cached == "False" and int(steps) > 15, err
    good = everything(reference.cache / "data")
    assert len(good) == 10
    outcomes: set[bool] = set()
    early = range(1, int(steps), 4 if runs_all else 12)
    for kill_at in sorted({*early, int(steps) - 1, int(steps)}):
        killed = run.start(kill_at=kill_at)
        killed.communicate()
        assert killed.returncode == -9
        data = run.here()
        assert everything(run.cache / "data") == good, f"killed at step {kill_at}"
        assert len(entries(run.cache)) == 1, "what the killed run left is swept away"
        outcomes.add(data.cached)
        shutil.rmtree(run.cache)
    assert outcomes == {False, True}, "the last kills come after the entry has its name"


@pytest.mark.system
def test_two_at_once_are_both_fine(run: Run) -> None:
    runs = [run.start() for _ in range(3)]
    for process in runs:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert run.here().cached
    assert len(entries(run.cache)) == 1


def test_a_full_disk_has_a_name_and_leaves_nothing(run: Run) -> None:
    process = run.start(most_bytes=20_000)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "UserError" in err and "the disk is full — free some space" in err
    assert entries(run.cache) == []


def test_too_little_room_is_told_before_the_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1))
    with pytest.raises(UserError, match="too full: 1 MiB are needed"):
        prepare(DataSpec(corpus=str(run.corpus)), run.cache)
    assert entries(run.cache) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(corpus="nowhere"), "the corpus does not exist"),
        (DataSpec(corpus="parquet:nowhere"), "no such folder of shards"),
        (DataSpec(vocab_size=255), "a vocabulary of 255"),
        (DataSpec(vocab_size=0), "a vocabulary of 0"),
        (DataSpec(corpus="parquet:x", shards=-1), "cannot be negative"),
        (DataSpec(corpus="parquet:x", val_shard=-1), "cannot be negative"),
    ],
)
def test_what_cannot_be_prepared(tmp_path: Path, spec: DataSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(spec, tmp_path)


@pytest.mark.parametrize(
    ("files", "functions", "split"), [(1, 16, "training"), (3, 1, "training"), (20, 3, "test|val")]
)
def test_too_little_text(tmp_path: Path, files: int, functions: int, split: str) -> None:
    folder = make_corpus(tmp_path / "corpus", files=files, functions=functions)
    with pytest.raises(UserError, match=f"too little text for a ({split}).*add text"):
        prepare(DataSpec(corpus=str(folder), vocab_size=300), tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        prepare(DataSpec(), tmp_path / "file" / "cache")


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "nightshift"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "nightshift"


def test_progress_is_told(tmp_path: Path) -> None:
    reports: list[PrepareProgress] = []
    folder = make_corpus(tmp_path / "corpus")
    data = prepare(DataSpec(corpus=str(folder), vocab_size=300), tmp_path / "cache", reports.append)
    stages = list(dict.fromkeys(report.stage for report in reports))
    assert stages == [f"reading {folder}", "learning the vocabulary", "encoding"]
    last = {report.stage: report for report in reports}
    assert last["encoding"].done == last["encoding"].total == data.train_bytes + data.val_bytes + data.test_bytes


def test_the_command_prints_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_corpus(tmp_path / "corpus")
    arguments = ["--corpus", str(folder), "--vocab", "300", "--cache", str(tmp_path / "cache")]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "prepared in" in captured.out and "BOS is 299" in captured.out
    assert "learning the vocabulary" in captured.err
    data = prepare(DataSpec(corpus=str(folder), vocab_size=300), tmp_path / "cache")
    assert data.cached and str(data.train_dir) in captured.out and data.corpus_sha256 in captured.out
    assert main(["--corpus", str(tmp_path / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_bytes_only(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, vocab_size=256)
    assert data.train_tokens == data.train_bytes
    assert data.bos_id == 255
    assert int(np.max(open_documents(data.train_dir).tokens)) < 255
