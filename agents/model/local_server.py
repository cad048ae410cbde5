"""llama.cpp's OpenAI-compatible server for a file of weights, in a process of its own.

For trying a model without installing a server, and for tests against a server that nobody here wrote. The library
(`xllamacpp`, the extra `local-server`) is loaded in that process alone; it ends when whoever started it ends.

    with LocalServer(path, name="smollm2", context_tokens=4096) as server:
        server.base_url    # for models.toml
"""

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from rails.errors import UserError
from rails.text import clean_text

LIBRARY = "xllamacpp"
START_TIMEOUT_S = 120.0
_READY = "nightshift local server at "
_MAX_SAID_CHARS = 400
_PROMPT_CACHE_MIB = 256
"""For prompts that were read before the last one. Its own default is 8 GiB."""
_METRIC = re.compile(r"^llamacpp:prompt_tokens_total (\S+)$", re.MULTILINE)


def library_is_installed() -> bool:
    """Whether a server could be started here."""
    return importlib.util.find_spec(LIBRARY) is not None


class LocalServer:
    """A running server; a context manager.

    Args:
        weights: a GGUF file.
        name: what requests call the model.
        context_tokens: how many tokens fit into one request, prompt and reply together.
        port: where to listen on this machine; 0: anywhere.
        threads: 1 beside other work: two threads on busy cores are far slower than one.
        adapter: a GGUF file with an adapter of the model, which then answers in its place.
    """

    def __init__(
        self,
        weights: Path,
        *,
        name: str,
        context_tokens: int,
        port: int = 0,
        threads: int = 1,
        adapter: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", __name__, str(weights), name]
        self._command += [str(number) for number in (context_tokens, port, threads)]
        if adapter is not None:
            self._command += ["--adapter", str(adapter)]
        self._name = name

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            UserError: the library is not installed, or the server did not come up (with what it said last).
        """
        if not library_is_installed():
            fix = f"pip install {LIBRARY}, or the extra of this package: pip install -e '.[local-server]'"
            raise UserError(f"{LIBRARY}, which has the server, is not installed here", fix=fix)
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
        )
        address = self._first_line()
        if address is None:
            said = self._last_words()
            self._end()
            raise UserError(
                f"the server did not start ({said})", where=self._name, fix="is the port free, the file whole?"
            )
        self._address = address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def base_url(self) -> str:
        """The endpoint, for models.toml."""
        return f"{self._address}/v1"

    def prompt_tokens_read(self) -> int:
        """How many prompt tokens it has computed since it started: those that it found in its cache are not counted."""
        with urlopen(f"{self._address}/metrics", timeout=10) as answer:
            found = _METRIC.search(answer.read().decode())
        return int(float(found[1])) if found else 0

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._process.wait()

    def _first_line(self) -> str | None:
        """The address, once it listens; None when it ended or took too long."""
        found: list[str] = []

        def read() -> None:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                text = line.decode(errors="replace")
                if text.startswith(_READY):
                    found.append(text.removeprefix(_READY).strip())
                    return

        reader = Thread(target=read, daemon=True)
        reader.start()
        reader.join(START_TIMEOUT_S)
        return found[0] if found else None

    def _last_words(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4096))
        return clean_text(self._log.read().decode(errors="replace")[-_MAX_SAID_CHARS:], _MAX_SAID_CHARS) or "no message"

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._log.close()


def main() -> None:
    """Serve, until whoever holds the other end of stdin is gone."""
    parser = argparse.ArgumentParser(prog=f"python -m {__name__}", description="Serve one model until stdin ends.")
    parser.add_argument("weights")
    parser.add_argument("name")
    for number in ("context_tokens", "port", "threads"):
        parser.add_argument(number, type=int)
    parser.add_argument("--adapter")
    given = parser.parse_args()
    xllamacpp: Any = importlib.import_module(LIBRARY)
    params = xllamacpp.CommonParams()
    params.model.path = given.weights
    params.model_alias = {given.name}
    params.n_ctx = given.context_tokens
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.port = given.port
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.endpoint_metrics = True
    if given.adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = given.adapter, 1.0
        params.lora_adapters = [lora]
    server = xllamacpp.Server(params)
    print(f"{_READY}{server.listening_address}", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # its threads do not end by themselves


if __name__ == "__main__":
    main()
