"""Debian's Prometheus, started with a receiver of remote write: asked as Grafana would ask it."""

import contextlib
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.support.processes import eventually
from tools.ports import free_port

READY_SECONDS = 30.0


@dataclass
class Prometheus:
    """One server with its data; may be stopped and started again at the same port."""

    directory: Path
    """Holds configuration, data and log."""
    options: tuple[str, ...] = ()
    scrapes: dict[str, int] = field(default_factory=dict)
    """Job → port of 127.0.0.1 that is scraped every second."""
    context: ssl.SSLContext | None = None
    """With it: https."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of each question."""

    def __post_init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        return f"{self.url}/api/v1/write"

    def start(self) -> None:
        """Returns once it answers."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "prometheus.yml"
        jobs = [
            {"job_name": name, "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, port in self.scrapes.items()
        ]
        config.write_text(json.dumps({"scrape_configs": jobs}))  # JSON is YAML
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.directory / 'data'}"]
        command += ["--web.enable-remote-write-receiver", f"--web.listen-address=127.0.0.1:{self.port}", *self.options]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1", "GOGC": "40"}
            )
        eventually(self._is_ready, READY_SECONDS, f"Prometheus ready: {self.log()[-2000:]}", every=0.05)

    def stop(self) -> None:
        """Ends it in order; its data stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(READY_SECONDS)
            self._process = None

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def ask(self, path: str, **words: str) -> Any:
        """The `data` of an answer of its API. Raises HTTPError with what it says."""
        request = Request(f"{self.url}{path}?{urlencode(words)}", headers=self.headers)
        try:
            with urlopen(request, timeout=30, context=self.context) as answer:
                return json.load(answer)["data"]
        except HTTPError as fault:
            raise AssertionError(f"{words}: {fault.read().decode()}") from fault

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant vector."""
        found: list[dict[str, Any]] = self.ask("/api/v1/query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Of the only series; None without one."""
        found = self.query(expression)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """A range of vectors."""
        words = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[dict[str, Any]] = self.ask("/api/v1/query_range", query=expression, **words)["result"]
        return found

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-4000:]
        request = Request(f"{self.url}/-/ready", headers=self.headers)
        with contextlib.suppress(OSError), urlopen(request, timeout=5, context=self.context) as answer:
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def prometheus(directory: Path, *options: str, **words: Any) -> Iterator[Prometheus]:
    """One that is ready; gone afterwards."""
    one = Prometheus(directory, options, **words)
    try:
        one.start()
        yield one
    finally:
        one.stop()
