"""A hub on localhost that speaks just enough of the real one's language for its own client."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves repositories from memory: `files["org/name"]["weights.bin"]`. It can cut answers short, or damage them."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.cut_after: int | None = None  # bytes of an answer, after which the line goes dead
        self.damaged = False
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: Any, *, body: bool) -> None:
        """Answer `/ORG/NAME/resolve/main/FILE`."""
        wanted = request.headers.get("Range", "")
        self.asked.append((request.command, request.path, wanted))
        repository, _, rest = request.path.strip("/").partition("/resolve/")
        name = rest.partition("/")[2].partition("?")[0]
        content = self.files.get(repository, {}).get(name)
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound" if repository in self.files else "RepoNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        request.send_response(206 if wanted else 200)
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(len(content) - start))
        if wanted:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if body:
            self.send(request, content[start:])

    def send(self, request: Any, content: bytes) -> None:
        """Send the bytes, or what is left of them."""
        if self.damaged:
            content = bytes(255 - byte for byte in content[:16]) + content[16:]
        if self.cut_after is not None and len(content) > self.cut_after:
            content, request.close_connection = content[: self.cut_after], True
        request.wfile.write(content)


def environment(hub: FakeHub, home: Path) -> dict[str, str]:
    """What a process needs to see this hub and nothing else."""
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
