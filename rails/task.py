"""`task.toml`: what a workspace optimises, on what budget, and how strictly. A person's file, read with care."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rails.clocks import counts_time
from rails.errors import UserError
from rails.menu import Menu, SizeRule
from rails.tables import Table, build, read_toml, tuple_of_list
from rails.text import closest, quote

DAY_S = 86_400.0
Mode: TypeAlias = Literal["knob", "knobs", "diff"]


def _matching(pattern: str, wanted: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"it should be {wanted}; got {quote(text)}")
        return text

    return AfterValidator(check)


_Name: TypeAlias = Annotated[str, _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, . _ -")]
_Word: TypeAlias = Annotated[str, _matching(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "a Python name")]
_File: TypeAlias = Annotated[str, _matching(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.py", "a .py file in the workspace itself")]
_Device: TypeAlias = Annotated[str, _matching(r"auto|cpu|mps|cuda(:\d{1,2})?", "auto, cpu, mps, cuda or cuda:N")]
_Modes: TypeAlias = Annotated[tuple[Mode, ...], BeforeValidator(tuple_of_list)]


class MetricConfig(Table):
    """The number that decides, and which way is better."""

    name: _Word = "val_bpb"
    direction: Literal["minimize", "maximize"] = "minimize"
    scale: Literal["linear", "log"] = "linear"
    """`log`: what is better is so by a factor (seconds, perplexity): scores above 0, compared on logarithms."""
    unit: str = Field(default="bits per byte", max_length=40)
    """What people read behind it; empty: it is a plain number."""
    decimals: int = Field(default=4, ge=0, le=12)
    """How many of it people are shown."""


class EditConfig(Table):
    """The edit surface: the one file that proposals change, and how."""

    file: _File = "train.py"
    class_name: _Word = Field(default="Knobs", alias="class")
    modes: _Modes = ("knob", "diff")

    @model_validator(mode="after")
    def _some_mode(self) -> Self:
        if not self.modes or len(set(self.modes)) != len(self.modes):
            raise ValueError('modes should name "knob", "diff" or both, each once; "knobs" may stand beside them')
        if self.modes == ("knobs",):
            raise ValueError('modes should name "knob" or "diff" beside "knobs", which is for searches alone')
        return self


class BudgetConfig(Table):
    """How much a trial trains, and the caps around it. The parent's clocks own all of them.

    How late a training may be is not for a person to set: see `trainer.budget.Caps.train_limit_s`.
    """

    kind: Literal["seconds", "cpu_seconds", "steps", "tokens", "flops"]
    amount: float = Field(gt=0, le=1e30)
    startup_s: float = Field(default=120.0, gt=0, le=DAY_S)
    """Cap on process start, imports and building the model, before the budget's clock starts."""
    score_s: float = Field(default=120.0, gt=0, le=DAY_S)
    """Cap on scoring."""
    wall_s: float | None = Field(default=None, gt=0, le=30 * DAY_S)
    """For `cpu_seconds`: cap on training by the wall clock; when absent 20 times the amount, at least a minute."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if counts_time(self.kind) and self.amount > 30 * DAY_S:
            raise ValueError(f"amount = {self.amount:g} seconds is more than 30 days for one trial")
        if self.wall_s is not None and self.kind != "cpu_seconds":
            raise ValueError(f'wall_s is for kind = "cpu_seconds"; this budget counts {self.kind}')
        if self.kind in {"steps", "tokens"} and not self.amount.is_integer():
            raise ValueError(f"amount should be a whole number of {self.kind}; got {self.amount!r}")
        return self


class DataConfig(Table):
    """What is trained on and how it is scored."""

    corpus: str = Field(default="stdlib", min_length=1, max_length=4096)
    """`stdlib`, the path of a folder of text, or `parquet:` with a URL or folder."""
    vocab_size: int = Field(default=2048, ge=256, le=262_144)
    eval_seq_len: int = Field(default=256, ge=8, le=1_048_576)
    eval_tokens: int = Field(default=131_072, ge=8, le=10_000_000_000)
    shards: int | None = Field(default=None, ge=1, le=100_000)
    """How many Parquet shards to use."""

    @model_validator(mode="after")
    def _shards_are_parquet(self) -> Self:
        if self.shards is not None and not self.corpus.startswith("parquet:"):
            raise ValueError('shards is for a corpus that begins with "parquet:"')
        return self


class TrialConfig(Table):
    """What one trial process may use of the machine."""

    device: _Device = "auto"
    threads: int = Field(default=0, ge=0, le=4096)
    """0: all cores."""
    side_by_side: int = Field(default=1, ge=1, le=64)
    """Trainings of one program at once, on seeds that are most likely asked for next: as many as cores allow, on a CPU
    and not by the wall clock."""
    memory_bytes: int = Field(default=0, ge=0, le=2**60)
    """0: 80 % of what the machine has, for all trials that run at once."""


class BaselineConfig(Table):
    """How the starting point is measured."""

    seeds: int = Field(default=3, ge=1, le=100)


class EarlyStopConfig(Table):
    """Whether a training whose curve is hopeless is cut short."""

    enabled: bool = True


class FinalConfig(Table):
    """How the campaign's result is measured at its end."""

    seeds: int = Field(default=2, ge=0, le=100)
    """Fresh seeds on which incumbent and baseline are measured again; 0: not at all."""


class KeepConfig(Table):
    """When a trial counts as better."""

    rule: Literal["strict", "threshold", "sequential"] = "sequential"
    min_gain: float = Field(default=0.003, ge=0, le=1)
    """Relative to the campaign's baseline. For `threshold`."""
    max_measurements: int | None = Field(default=None, ge=1, le=100)
    """Most measurements of one candidate. When absent, 1 for `threshold` and 8 for `sequential`."""

    simpler_margin: float = Field(default=0.0, ge=0, le=0.1)
    """How much worse than the best ever kept a change of the code may be that makes the program simpler, relative to
    the campaign's baseline; 0: being simpler is no reason to keep."""

    @model_validator(mode="after")
    def _sequential_repeats(self) -> Self:
        if self.rule == "sequential" and self.max_measurements == 1:
            raise ValueError('max_measurements should be 2 or more for rule = "sequential", which never believes one')
        return self


class RailsConfig(Table):
    """How proposals are checked, and how often they may be corrected."""

    novelty: bool = True
    """Whether a program that was tried before is refused."""
    corrections: int = Field(default=2, ge=0, le=10)
    repairs: int = Field(default=3, ge=0, le=10)
    max_diff_lines: int = Field(default=80, ge=1, le=10_000)


class ProposerConfig(Table):
    """What is done when the campaign's proposer does not answer, or nothing that passes the rails."""

    fallback: str = Field(default="", max_length=4096)
    """The proposer to ask meanwhile; empty: nobody, the loop waits."""
    stand_in: Literal["tpe", "random", ""] = "tpe"
    """Who proposes for a model all of whose corrections were refused; empty: nobody, the trial is blocked."""


class SpecialistConfig(Table):
    """One specialist of the planner: a part of the work, with the knobs that belong to it."""

    focus: str = Field(min_length=1, max_length=200)
    """What it is for, in a few words."""
    knobs: Annotated[tuple[str, ...], BeforeValidator(tuple_of_list)] = ()
    """The knobs that it may change; none: all of them."""
    prompt: str = Field(default="", max_length=2000)
    """A paragraph that only it is told."""


class PlannerConfig(Table):
    """How a language model comes to a proposal."""

    choose: Literal["bandit", "round_robin"] = "bandit"
    """Who of the specialists proposes next: by confirmed gain for the seconds that it took, or one after the other."""
    steps: int = Field(default=4, ge=0, le=20)
    """Most questions that it may ask of the record, the source and the rails before it proposes; 0: none."""
    tokens: int = Field(default=40_000, ge=500, le=10_000_000)
    """Most tokens, prompts included, for one attempt at a proposal."""
    seconds: float = Field(default=600.0, gt=0, le=DAY_S)
    """Most time for one attempt at a proposal."""
    critic: str = Field(default="", max_length=200)
    """The model that gives a second opinion; `self`: the proposing one; empty: nobody."""
    share: float = Field(default=0.3, ge=0, le=1)
    """For `hybrid`: share of the trials that the model decides; the search decides the others alone."""
    candidates: int = Field(default=4, ge=2, le=20)
    """For `hybrid`: how many of the search's best moves the model chooses from."""


class LineageConfig(Table):
    """What the next proposer is told of the campaign so far."""

    max_tokens: int = Field(default=2000, ge=200, le=100_000)
    """Most that the lineage block may have, by an estimate of our own."""
    last: int = Field(default=10, ge=0, le=1000)
    """How many of the latest trials are shown in full."""
    stuck_after: int = Field(default=12, ge=1, le=1_000_000)
    """After so many trials without a keep the block says what to do when out of ideas."""
    lessons: str = Field(default="", max_length=4096)
    """The model of models.toml that writes a line after each trial; empty: a rule does."""


class EnergyConfig(Table):
    """What energy costs."""

    usd_per_kwh: float | None = Field(default=None, ge=0, le=1000)
    """None: unknown, and no report makes dollars of joules."""


class LimitsConfig(Table):
    """When a campaign ends by itself."""

    trials: int = Field(default=12, ge=1, le=1_000_000)
    hours: float = Field(default=0.0, ge=0, le=10_000)
    """Of running, pauses left out. 0: no limit of time."""
    usd: float = Field(default=0.0, ge=0, le=1e9)
    """What the proposer's calls may cost. 0: no limit of money."""
    joules: float = Field(default=0.0, ge=0, le=1e15)
    """What the machine may take while it runs. 0: no limit of energy."""
    failures_in_a_row: int = Field(default=20, ge=1, le=1_000_000)


class GptConfig(Table):
    """A small GPT that is trained here: a program, a budget and a text. What a file without a [task] table is about."""

    kind: Literal["gpt"] = "gpt"


class TabularConfig(Table):
    """A recorded table: what every configuration scored is known, and nothing is trained."""

    kind: Literal["tabular"]
    table: str = Field(min_length=1, max_length=200)
    """Its name, as `nightshift tables list` shows it."""


class Task(Table):
    """A whole `task.toml` but for what only its kind has. Attribute names are the file's keys (`edit.class_name` is
    `class`).
    """

    name: _Name
    metric: MetricConfig = MetricConfig()
    edit: EditConfig = EditConfig()
    baseline: BaselineConfig = BaselineConfig()
    keep: KeepConfig = KeepConfig()
    early_stop: EarlyStopConfig = EarlyStopConfig()
    final: FinalConfig = FinalConfig()
    rails: RailsConfig = RailsConfig()
    proposer: ProposerConfig = ProposerConfig()
    planner: PlannerConfig = PlannerConfig()
    specialists: dict[_Word, SpecialistConfig] = Field(default_factory=dict)
    limits: LimitsConfig = LimitsConfig()
    lineage: LineageConfig = LineageConfig()
    energy: EnergyConfig = EnergyConfig()
    size: SizeRule | None = None
    menu: Menu

    @property
    def memory_limit_bytes(self) -> int | None:
        """What the task itself allows a trial to use of memory; None: it states nothing."""
        return None

    @property
    def effort(self) -> str:
        """What a trial gets, in a few words for whoever proposes."""
        raise NotImplementedError

    @property
    def effort_rule(self) -> str:
        """What follows from that for a proposal, in a sentence."""
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _size_belongs_to_menu(cls, data: Any) -> Any:
        """The size estimate is a table of its own in the file, but it reads the menu's knobs."""
        if not isinstance(data, Mapping) or not isinstance(data.get("menu"), Mapping):
            return data
        size = data.get("size", data["menu"].get("size"))
        return {**data, "size": size, "menu": {**data["menu"], "size": size}}

    @model_validator(mode="after")
    def _something_to_change(self) -> Self:
        if "knob" in self.edit.modes and not self.menu.knobs:
            raise ValueError('edit.modes has "knob", but [menu.knobs] is empty')
        return self

    @model_validator(mode="after")
    def _specialists_know_their_knobs(self) -> Self:
        for name, specialist in self.specialists.items():
            for knob in specialist.knobs:
                if knob not in self.menu.knobs:
                    what = f"the specialist {name} names a knob {quote(knob)} that is not on the menu"
                    raise ValueError(f"{what}{closest(knob, self.menu.knobs)}")
        return self


class GptTask(Task):
    """The task of a small GPT: what is trained on which text, on what budget, in what process."""

    task: GptConfig = GptConfig()
    budget: BudgetConfig
    data: DataConfig = DataConfig()
    trial: TrialConfig = TrialConfig()

    @property
    def memory_limit_bytes(self) -> int | None:
        """As `[trial]` says."""
        return self.trial.memory_bytes or None

    @property
    def effort(self) -> str:
        """`5 CPU seconds of training`."""
        return f"{self.budget.amount:g} {self.budget.kind.replace('cpu_', 'CPU ')} of training"

    @property
    def effort_rule(self) -> str:
        """What larger models lose."""
        return "The budget is fixed: a larger model takes fewer steps."


class TabularTask(Task):
    """The task of a recorded table: proposals choose among its configurations."""

    task: TabularConfig
    edit: EditConfig = EditConfig(modes=("knob", "knobs"))

    @model_validator(mode="after")
    def _knobs_only(self) -> Self:
        if "diff" in self.edit.modes:
            raise ValueError('a table has no code to change: edit.modes can only be ["knob"] or ["knob", "knobs"]')
        return self

    @property
    def effort(self) -> str:
        """What it costs is in the table as well."""
        return "the full training that was recorded"

    @property
    def effort_rule(self) -> str:
        """Not all that the menu allows may have been recorded."""
        return "Only configurations that were recorded can be tried."


KINDS: dict[str, type[Task]] = {"gpt": GptTask, "tabular": TabularTask}
"""What `[task] kind` may say. Each kind has tables of its own; the file of a kind has no table of another's."""


def task_of(data: Mapping[str, Any], where: str = "task") -> Task:
    """The task that a file's tables, or a stored campaign's, describe; without a `[task]` table that of a GPT.

    Raises:
        UserError: an unknown kind or key, a wrong type, a number out of range, a menu that contradicts itself.
    """
    table = data.get("task")
    kind = table.get("kind", "gpt") if isinstance(table, Mapping) else "gpt"
    if not isinstance(kind, str) or kind not in KINDS:
        what = f"there is no kind of task {quote(kind)}{closest(str(kind), KINDS)}"
        raise UserError(what, where=f"{where}: task.kind", fix=f"choose one of: {', '.join(KINDS)}")
    return build(KINDS[kind], data, where=where)


def load_task(path: Path) -> Task:
    """Read and check a `task.toml`.

    Raises:
        UserError: missing, not TOML (with the line), an unknown key (with the nearest known one), a wrong type, a
            number out of range, a menu that contradicts itself.
    """
    return task_of(read_toml(path, fix="make a workspace with `nightshift init DIR`"), where=str(path))
