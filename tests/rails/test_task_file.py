"""`task.toml`: what a whole one gives, and the one clear sentence for everything wrong with another."""

import json
from pathlib import Path

import pytest

from rails.errors import UserError
from rails.menu import load_menu
from rails.task import GptTask, TabularTask, load_task, task_of

WHOLE = """\
name = "gpt"
[metric]
name = "val_bpb"
direction = "minimize"
[edit]
file = "train.py"
class = "Knobs"
modes = ["knob", "diff"]
[budget]
kind = "seconds"
amount = 20
startup_s = 60.0
score_s = 30.0
[data]
corpus = "parquet:https://example.org/data"
vocab_size = 4096
eval_seq_len = 128
eval_tokens = 1000
shards = 2
[trial]
device = "cuda:1"
threads = 2
memory_bytes = 1000000000
[baseline]
seeds = 5
[keep]
rule = "strict"
min_gain = 0.01
max_measurements = 3
[rails]
novelty = false
corrections = 1
repairs = 0
max_diff_lines = 10
[limits]
trials = 40
hours = 8
failures_in_a_row = 5
[size]
memory_bytes = "depth * 1000"
limit_bytes = 100000
[menu]
cross_constraints = [{ id = "shallow", rule = "depth < 10", doc = "why" }]
[menu.knobs]
depth = { type = "int", range = [1, 12], default = 2, doc = "blocks" }
lr = { type = "float", range = [1e-5, 1e-2], default = 3e-4 }
kind = { type = "str", choices = ["a", "b"], default = "a" }
"""
SHORT = """\
name = "gpt"
[budget]
kind = "steps"
amount = 100
[menu.knobs]
depth = { type = "int", range = [1, 12], default = 2 }
"""


def load(tmp_path: Path, text: str | bytes) -> GptTask:
    path = tmp_path / "task.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    task = load_task(path)
    assert isinstance(task, GptTask)
    return task


def test_every_key_of_a_whole_task_arrives(tmp_path: Path) -> None:
    task = load(tmp_path, WHOLE)

    assert (task.name, task.metric.name, task.metric.direction) == ("gpt", "val_bpb", "minimize")
    assert (task.edit.file, task.edit.class_name, task.edit.modes) == ("train.py", "Knobs", ("knob", "diff"))
    assert (task.budget.kind, task.budget.amount) == ("seconds", 20.0)
    assert (task.budget.startup_s, task.budget.score_s) == (60.0, 30.0)
    assert (task.data.corpus, task.data.vocab_size) == ("parquet:https://example.org/data", 4096)
    assert (task.data.eval_seq_len, task.data.eval_tokens, task.data.shards) == (128, 1000, 2)
    assert (task.trial.device, task.trial.threads, task.trial.memory_bytes) == ("cuda:1", 2, 10**9)
    assert task.baseline.seeds == 5
    assert (task.keep.rule, task.keep.min_gain, task.keep.max_measurements) == ("strict", 0.01, 3)
    assert not task.rails.novelty
    assert (task.rails.corrections, task.rails.repairs, task.rails.max_diff_lines) == (1, 0, 10)
    assert (task.limits.trials, task.limits.hours, task.limits.failures_in_a_row) == (40, 8.0, 5)
    assert task.menu.defaults() == {"depth": 2, "lr": 3e-4, "kind": "a"}
    assert task.size is not None
    assert task.size == task.menu.size
    assert [rule.id for rule in task.menu.cross_constraints] == ["shallow"]


def test_a_short_task_has_the_documented_defaults(tmp_path: Path) -> None:
    task = load(tmp_path, SHORT)
    assert (task.metric.name, task.metric.direction) == ("val_bpb", "minimize")
    assert (task.edit.file, task.edit.class_name, task.edit.modes) == ("train.py", "Knobs", ("knob", "diff"))
    assert (task.budget.startup_s, task.budget.score_s) == (120.0, 120.0)
    assert (task.data.corpus, task.data.vocab_size, task.data.eval_seq_len) == ("stdlib", 2048, 256)
    assert (task.data.eval_tokens, task.data.shards) == (131_072, None)
    assert (task.trial.device, task.trial.threads, task.trial.memory_bytes) == ("auto", 0, 0)
    assert task.baseline.seeds == 3
    assert (task.keep.rule, task.keep.min_gain, task.keep.max_measurements) == ("sequential", 0.003, None)
    assert (task.rails.novelty, task.rails.corrections, task.rails.repairs) == (True, 2, 3)
    assert task.rails.max_diff_lines == 80
    assert (task.limits.trials, task.limits.hours, task.limits.failures_in_a_row) == (12, 0.0, 20)
    assert task.size is None


@pytest.mark.parametrize("text", [WHOLE, SHORT])
def test_a_task_survives_the_store(tmp_path: Path, text: str) -> None:
    task = load(tmp_path, text)
    assert task_of(json.loads(json.dumps(task.model_dump(mode="json", by_alias=True)))) == task
    assert task_of(task.model_dump(mode="json")) == task


def test_the_menu_of_a_task_can_be_read_alone(tmp_path: Path) -> None:
    task = load(tmp_path, WHOLE)
    assert load_menu(tmp_path / "task.toml") == task.menu


def swap(old: str, new: str) -> str:
    assert old in WHOLE
    return WHOLE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (swap("amount = 20", "amount ="), "task.toml: ", "not valid TOML: Invalid value (at line 11, column 9)"),
        (swap("seeds = 5", "seeds = 5\nseeds = 6"), "task.toml: ", "at line 26"),
        (swap("amount = 20", f"amount = {'9' * 5000}"), "task.toml: ", "thousands of digits"),
        ("x = " + "[" * 5000, "task.toml: ", "not valid TOML"),
        (swap("amount = 20", "amuont = 20"), "budget.amuont: ", "unknown key (did you mean 'amount'?)"),
        (swap("[limits]", "[limit]"), "limit: ", "unknown key (did you mean 'limits'?)"),
        (swap("class =", "clas ="), "edit.clas: ", "unknown key (did you mean 'class'?)"),
        (swap("range = [1, 12]", "rnage = [1, 12]"), "menu.knobs.depth.rnage: ", "(did you mean 'range'?)"),
        (swap("rule = ", "rules = "), "keep.rules: ", "(did you mean 'rule'?)"),
        (swap('memory_bytes = "', 'memory_byte = "'), "size.memory_byte: ", "(did you mean 'memory_bytes'?)"),
        (swap('id = "shallow"', 'ids = "shallow"'), "menu.cross_constraints.0.ids: ", "(did you mean 'id'?)"),
        (swap("seeds = 5", "zzz = 5"), "baseline.zzz: ", "unknown key — use one of seeds"),
        (swap('name = "gpt"\n', ""), "name: ", "the key is missing"),
        (swap('kind = "seconds"\n', ""), "budget.kind: ", "the key is missing"),
        (swap("amount = 20", 'amount = "20"'), "budget.amount: ", "should be a number; got '20'"),
        (swap("seeds = 5", "seeds = 5.0"), "baseline.seeds: ", "should be a whole number; got 5.0"),
        (swap("seeds = 5", "seeds = true"), "baseline.seeds: ", "should be a whole number; got true"),
        (swap("novelty = false", "novelty = 0"), "rails.novelty: ", "should be true or false; got 0"),
        (swap('file = "train.py"', "file = 3"), "edit.file: ", "should be text in quotes; got 3"),
        (swap('modes = ["knob", "diff"]', 'modes = "knob"'), "edit.modes: ", "should be a list; got 'knob'"),
        (swap("[metric]\n", "metric = 3\n[other]\n").replace("[other]\nname", "[budgets]\nx"), "budgets: ", "'budget'"),
        (swap("amount = 20", "amount = 0"), "budget.amount: ", "should be greater than 0; got 0"),
        (swap("amount = 20", "amount = inf"), "budget.amount: ", "finite"),
        (swap("amount = 20", "amount = nan"), "budget.amount: ", "got nan"),
        (swap("amount = 20", f"amount = {'9' * 400}"), "budget.amount: ", "got "),
        (swap("amount = 20", "amount = 1e8"), "budget: ", "more than 30 days"),
        (swap('kind = "seconds"\namount = 20', 'kind = "steps"\namount = 2.5'), "budget: ", "whole number of steps"),
        (swap("vocab_size = 4096", "vocab_size = 7"), "data.vocab_size: ", "greater than or equal to 256; got 7"),
        (swap("hours = 8", "hours = -1"), "limits.hours: ", "greater than or equal to 0"),
        (swap("trials = 40", "trials = 0"), "limits.trials: ", "greater than or equal to 1"),
        (swap("min_gain = 0.01", "min_gain = 2"), "keep.min_gain: ", "less than or equal to 1; got 2"),
        (swap('kind = "seconds"', 'kind = "second"'), "budget.kind: ", "'seconds', 'cpu_seconds', 'steps', 'tokens'"),
        (swap("amount = 20", "amount = 20\nwall_s = 60"), "budget: ", 'wall_s is for kind = "cpu_seconds"'),
        (swap('device = "cuda:1"', 'device = "gpu"'), "trial.device: ", "auto, cpu, mps, cuda or cuda:N; got 'gpu'"),
        (swap('file = "train.py"', 'file = "../train.py"'), "edit.file: ", "in the workspace itself"),
        (swap('class = "Knobs"', 'class = "My Knobs"'), "edit.class: ", "a Python name; got 'My Knobs'"),
        (swap('["knob", "diff"]', "[]"), "edit: ", "each once"),
        (swap('["knob", "diff"]', '["knob", "patch"]'), "edit.modes.1: ", "'knob', 'knobs' or 'diff'; got 'patch'"),
        (swap("parquet:https", "https"), "data: ", "shards is for a corpus"),
        (swap("default = 2", "default = 20"), "menu.knobs.depth: ", "depth = 20: a whole number from 1 to 12"),
        (swap("default = 2", "default = true"), "menu.knobs.depth", "got"),
        (swap('type = "int"', 'type = "integer"'), "menu.knobs.depth.type: ", "'int', 'float' or 'str'; got 'integer'"),
        (swap("range = [1, 12]", "range = [12, 1]"), "menu.knobs.depth: ", "upside down"),
        (swap("range = [1, 12], ", ""), "menu.knobs.depth: ", "either a range or choices"),
        (swap('choices = ["a", "b"]', "choices = []"), "menu.knobs.kind: ", "choices is empty"),
        (swap('choices = ["a", "b"]', "range = [1, 2]"), "menu.knobs.kind: ", "has choices, not a range"),
        (swap("range = [1, 12]", 'range = [1, "x"]'), "menu.knobs.depth.range", "should be a"),
        (swap("range = [1, 12]", "range = [1, 12.5]"), "menu.knobs.depth: ", "is not an int"),
        (swap("depth = {", '"my depth" = {'), "menu.knobs.my depth: ", "a Python name"),
        (swap("depth < 10", "depht < 10"), "menu: ", "reads 'depht', which is no knob (did you mean 'depth'?)"),
        (swap("depth < 10", "depth < 2"), "menu: ", "depth < 2 does not hold with depth=2 (shallow)"),
        (swap("depth < 10", "1 / 0 > depth"), "menu: ", "division by zero"),
        (swap("depth < 10", "open('x')"), "menu: ", "can be called"),
        (swap("limit_bytes = 100000", "limit_bytes = 1"), "menu: ", "the defaults do not fit"),
        (swap("depth * 1000", "deep * 1000"), "menu: ", "reads 'deep', which is no knob"),
        (SHORT.replace("[menu.knobs]", "[menus.knobs]"), "menus: ", "(did you mean 'menu'?)"),
        (SHORT.replace("depth = {", "# depth = {"), "task.toml: ", "[menu.knobs] is empty"),
        (b"\xff\xfe", "task.toml: ", "not UTF-8 text (byte 0)"),
        ("x = 1\n" * 300_000, "task.toml: ", "larger than"),
    ],
)
def test_one_clear_sentence_says_where_and_what(tmp_path: Path, text: str | bytes, place: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path / "task.toml"))
    assert place in sentence
    assert reason in sentence
    assert caught.value.fix
    assert "\n" not in sentence
    assert len(sentence) < 400 + len(str(tmp_path))
    assert caught.value.__cause__ is None


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file — make a workspace with `nightshift init DIR`"):
        load_task(tmp_path / "task.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the file"):
        load_task(tmp_path)


TABLE = """\
name = "recorded"
[task]
kind = "tabular"
table = "cpu-gpt"
[metric]
name = "accuracy"
direction = "maximize"
unit = "%"
decimals = 2
[menu.knobs]
depth = { type = "int", choices = [1, 2], default = 2 }
"""


def test_a_task_without_a_kind_is_that_of_a_gpt_and_a_stored_one_loads_as_it_did(tmp_path: Path) -> None:
    task = load(tmp_path, SHORT)
    stored = task.model_dump(mode="json", by_alias=True)
    del stored["task"], stored["metric"]["unit"], stored["metric"]["decimals"]
    assert task_of(stored) == task
    assert task.effort == "100 steps of training"


def test_each_kind_of_task_has_its_own_tables(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text(TABLE)
    task = load_task(path)
    assert isinstance(task, TabularTask)
    assert (task.task.table, task.edit.modes, task.metric.decimals) == ("cpu-gpt", ("knob", "knobs"), 2)
    assert task_of(task.model_dump(mode="json", by_alias=True)) == task


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('kind = "tabular"', 'kind = "tabluar"', "there is no kind of task 'tabluar' (did you mean 'tabular'?)"),
        ("[metric]", '[budget]\nkind = "steps"\namount = 5\n[metric]', "budget: unknown key"),
        ("[metric]", '[edit]\nmodes = ["knob", "diff"]\n[metric]', "a table has no code to change"),
        ('table = "cpu-gpt"\n', "", "task.table: the key is missing"),
    ],
)
def test_what_is_wrong_with_the_task_of_a_table(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in TABLE
    path = tmp_path / "task.toml"
    path.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_task(path)
    assert reason in str(caught.value)
