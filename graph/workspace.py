"""Where things lie in a workspace. Paths only: nothing here reads or writes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Workspace:
    """A git repository made by `nightshift init`: a person's files at the top, ours under `.nightshift/`."""

    root: Path

    @property
    def task_path(self) -> Path:
        """The task: metric, budget, rails, menu. A person's file."""
        return self.root / "task.toml"

    @property
    def program_path(self) -> Path:
        """The research policy. A person's file, read again before every proposal."""
        return self.root / "program.md"

    @property
    def state_dir(self) -> Path:
        """Everything that git must not see."""
        return self.root / ".nightshift"

    @property
    def store_path(self) -> Path:
        """The DuckDB file: the only truth. Opened by the running loop alone."""
        return self.state_dir / "store.duckdb"

    @property
    def snapshot_dir(self) -> Path:
        """Parquet copies of the store for readers."""
        return self.state_dir / "snapshot"

    @property
    def costs_dir(self) -> Path:
        """What programs' answers cost by token; see `graph/costs.py`."""
        return self.state_dir / "costs"

    @property
    def lock_path(self) -> Path:
        """Held by the loop that owns the workspace."""
        return self.state_dir / "lock"

    @property
    def live_path(self) -> Path:
        """What the loop does at this moment, for `nightshift watch`; there while it runs."""
        return self.state_dir / "live.json"

    @property
    def events_path(self) -> Path:
        """What the loop said since it began, one JSON object a line; there until the next loop begins."""
        return self.state_dir / "events.jsonl"

    @property
    def scratch_dir(self) -> Path:
        """Trial processes live and die here."""
        return self.state_dir / "scratch"

    @property
    def exists(self) -> bool:
        """Whether `init` has been here."""
        return self.task_path.is_file()
