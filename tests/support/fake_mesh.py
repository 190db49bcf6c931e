"""Stands in for a whole running mesh: a process that looks like a supervisor, and an agent's API with what the test says.

Answers are files in a directory, `metrics` for `GET /metrics`, read anew for each request.
"""

import contextlib
import http.server
import os
import socketserver
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def fake_mesh(directory: Path, name: str, answers: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment in which `tulle` finds it; the answers lie in `directory / "answers"`."""
    runtime = directory / name
    runtime.mkdir(mode=0o700, parents=True)
    (directory / "answers").mkdir()
    for target, text in answers.items():
        (directory / "answers" / target).write_text(text)
    words = [sys.executable, __file__, str(directory), "tulle.supervisor", "--mesh", name]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"serving\n"
            (runtime / "supervisor.pid").write_text(str(process.pid))
            yield os.environ | {"TULLE_RUNTIME_DIR": str(directory), "TULLE_STATE_DIR": str(directory / "state")}
        finally:
            process.kill()


class _Answers(http.server.BaseHTTPRequestHandler):
    directory: Path

    def do_GET(self) -> None:
        file = self.directory / "answers" / self.path.partition("?")[0].removeprefix("/")
        body = file.read_bytes() if file.is_file() else b'{"error": "no such route"}'
        self.send_response(200 if file.is_file() else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    directory, name = Path(sys.argv[1]), sys.argv[-1]
    _Answers.directory = directory
    with socketserver.ThreadingUnixStreamServer(str(directory / name / "agent.sock"), _Answers) as server:
        os.write(1, b"serving\n")
        server.serve_forever()


if __name__ == "__main__":
    main()
