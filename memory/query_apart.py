"""Answers a query in a process of its own, with bounded memory and time: what a model asks must not end the night.

Run as `python -P -m memory.query_apart` it is that process: a JSON object comes in on its input, another goes out.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from memory.reader import Reader
from memory.snapshot.answers import QueryResult
from memory.snapshot.loading import bound_process
from rails.errors import NightshiftError, UserError

STARTING_S = 10.0
"""What the process may take beside the query itself; killed then."""


def query_apart(directory: Path, sql: str, *, limit: int, timeout_s: float) -> QueryResult:
    """As `Reader.query`, over the snapshot in `directory`.

    Raises:
        UserError: it is not one reading statement, DuckDB does not accept it, it took too long or too much memory.
    """
    asked = json.dumps({"directory": str(directory), "sql": sql, "limit": limit, "timeout_s": timeout_s})
    command = [sys.executable, "-P", "-m", "memory.query_apart"]
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=timeout_s + STARTING_S, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        fix = "ask for less, or in smaller steps"
        raise UserError(f"the query took longer than {timeout_s:g} s", fix=fix) from error
    except ValueError as error:  # it died: nothing else ends it but a lack of memory
        raise UserError(
            "the query needs more memory than it may have", fix="ask for less, or in smaller steps"
        ) from error
    if "what" in found:
        raise UserError(found["what"], where=found["where"], fix=found["fix"])
    return QueryResult(**found)


def main() -> None:
    """Answer the one query on the input."""
    asked: dict[str, Any] = json.load(sys.stdin)
    bound_process()
    try:
        with Reader.open_for(Path(asked["directory"]), asked["sql"]) as reader:
            result = reader.query(asked["sql"], asked["limit"], timeout_s=asked["timeout_s"])
        answer = {"columns": result.columns, "rows": result.rows, "more": result.more}
    except NightshiftError as error:
        answer = {"what": error.what, "where": error.where, "fix": error.fix}
    except MemoryError:
        answer = {"what": "the query needs more memory than it may have", "where": "", "fix": "ask for less"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
