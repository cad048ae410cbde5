"""What a new workspace of a recorded table starts from: its task.toml, and a train.py that holds a configuration."""

from dataclasses import dataclass

from rails.menu import CrossRule, Knob, KnobValue, Menu


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """A recorded table, as far as a workspace states it."""

    table: str
    title: str
    menu: Menu
    metric_name: str
    direction: str
    unit: str
    decimals: int

    @property
    def way(self) -> str:
        """Which way the metric is better."""
        return "lower" if self.direction == "minimize" else "higher"


def render_knobs_py(task: TableTask) -> str:
    """A program that is nothing but the configuration: the menu's defaults."""
    fields = "\n".join(
        f"    {name}: {knob.type} = {_literal(knob.normalise(knob.default))}" for name, knob in task.menu.knobs.items()
    )
    return (
        f'"""A configuration of the recorded table {task.table}. Nothing here is run: what it scores is looked up."""\n'
        "\nfrom dataclasses import dataclass\n\n\n"
        f'@dataclass\nclass Knobs:\n    """What was chosen."""\n\n{fields}\n'
    )


def render_table_toml(task: TableTask) -> str:
    """A complete, commented task.toml."""
    head = _TASK_TOML.format(
        name=_quoted(task.table.replace(":", "-")),
        title=task.title,
        table=_quoted(task.table),
        metric=_quoted(task.metric_name),
        direction=_quoted(task.direction),
        unit=_quoted(task.unit),
        decimals=task.decimals,
    )
    knobs = "\n".join(_knob_line(name, knob) for name, knob in task.menu.knobs.items())
    return f"{head}{knobs}\n" + "".join(_rule_table(rule) for rule in task.menu.cross_constraints)


def _knob_line(name: str, knob: Knob) -> str:
    kind, allowed = ("choices", knob.choices) if knob.choices is not None else ("range", knob.range)
    values = ", ".join(_literal(value) for value in allowed or ())
    doc = f", doc = {_quoted(knob.doc)}" if knob.doc else ""
    return f"{name} = {{ type = {_quoted(knob.type)}, {kind} = [{values}], default = {_literal(knob.default)}{doc} }}"


def _rule_table(rule: CrossRule) -> str:
    lines = [f"{key} = {_quoted(text)}" for key, text in (("id", rule.id), ("rule", rule.rule), ("doc", rule.doc))]
    return "\n".join(["", "[[menu.cross_constraints]]", *lines, ""])


def _literal(value: KnobValue) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TASK_TOML = """\
# {title}.
# Nothing is trained: every configuration's scores were recorded. Yours to edit; a running campaign keeps the task it
# started with.
name = {name}

[task]
kind = "tabular"
table = {table}

[metric]                    # the table's own
name = {metric}
direction = {direction}
unit = {unit}
decimals = {decimals}

[edit]
file = "train.py"           # holds the configuration, and nothing else
class = "Knobs"
modes = ["knob", "knobs"]    # one knob at a time; several at once, for the searches cma and gp

[baseline]
seeds = 3                   # of the seeds that were recorded; no seed is ever drawn twice

[keep]
rule = "sequential"         # measured again until clear; "threshold": better by min_gain or more; "strict": any better
min_gain = 0.003            # for "threshold": relative to the campaign's baseline
# max_measurements = 8      # at most this many of one candidate, and never more than were recorded

[final]
seeds = 1                   # the result is the mean over all recorded seeds, which is the truth here; 0: no result

[early_stop]
enabled = true              # a recorded curve that is hopeless is not followed to its end

[rails]
novelty = true              # refuse a configuration that was tried before
corrections = 2             # how often a refused proposal may be corrected

[limits]
trials = 40
hours = 0.0                 # of recorded training; 0: no limit of time
failures_in_a_row = 20

# What a proposal may set. Every default is the starting value in train.py.
[menu.knobs]
"""
