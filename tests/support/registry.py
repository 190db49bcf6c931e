"""A registry of one image on loopback: serves what `podman save --format oci-dir` wrote, and counts who asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry(ThreadingHTTPServer):
    """Answers the read half of the distribution API for any name and tag."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        kind, _, wanted = self.path.rpartition("/")
        index = json.loads((self.server.directory / "index.json").read_text())
        digest = wanted if wanted.startswith("sha256:") else index["manifests"][0]["digest"]
        blob = self.server.directory / "blobs" / "sha256" / digest.removeprefix("sha256:")
        body = b"" if self.path.rstrip("/") == "/v2" else blob.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", _MANIFEST if kind.endswith("/manifests") else "application/octet-stream")
        self.send_header("Docker-Content-Digest", digest)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  (the name that the library calls)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def registry(directory: Path) -> Iterator[Registry]:
    """One that serves while the block runs."""
    with Registry(directory) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield one
        finally:
            one.shutdown()
            thread.join()
