"""A local HTTP server of files that misbehaves as told, and that the Hugging Face library takes for the hub."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import cast

HUB_HEADERS = {
    "X-Repo-Commit": "5" * 40,
    "X-Xet-Hash": "6" * 64,  # it offers Xet as well, and there is none
    "X-Xet-Refresh-Route": "http://127.0.0.1:9/xet",
}


@dataclass(slots=True, kw_only=True)
class Site:
    """What the server has, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    faults: list[int | str] = field(default_factory=lambda: [])
    """Used up one a request: a status code; `drop` closes after half; `corrupt` sends the right length of rubbish."""
    asked: list[tuple[str, str | None]] = field(default_factory=lambda: [])
    """(path, Range header) of every request for content."""
    url: str = ""
    lock: Lock = field(default_factory=Lock)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _refuse(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _headers(self, content: bytes, start: int = 0) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in HUB_HEADERS.items():
            self.send_header(name, value)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()

    def do_HEAD(self) -> None:
        content = cast("_Server", self.server).site.files.get(self.path.lstrip("/"))
        if content is None:
            return self._refuse(404, {"X-Error-Code": "EntryNotFound"})
        return self._headers(content)

    def do_GET(self) -> None:
        site = cast("_Server", self.server).site
        asked = self.headers.get("Range")
        with site.lock:
            site.asked.append((self.path, asked))
            fault = site.faults.pop(0) if site.faults else None
        content = site.files.get(self.path.lstrip("/"))
        if isinstance(fault, int):
            return self._refuse(fault, {"Retry-After": "0"})
        if content is None:
            return self._refuse(404, {})
        start = 0 if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))
        self._headers(content, start)
        body = content[start:]
        if fault == "drop":
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(bytes(len(body)) if fault == "corrupt" else body)


@contextmanager
def serve(site: Site) -> Generator[Site]:
    """Serve `site` at `site.url` (without a final slash) until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.site = site
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
