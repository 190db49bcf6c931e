"""`tulle tap`: requests and opaque connections as they end."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Failure, harmless, say, show

if TYPE_CHECKING:
    from tulle.cli.running import Running

_PAUSE_SECONDS = 0.05
"""Between two looks for the next proxy."""


@click.command()
@click.option("--count", "-n", default=0, type=click.IntRange(min=0), metavar="N", help="End after N lines.")
@mesh_option
@json_option
def tap(count: int, mesh: str | None, as_json: bool) -> None:
    """Follow requests and opaque connections as they end: who called whom, what came of it. JSON lines with --json.

    Where the proxy or the agent ends meanwhile, it says so and goes on with the next one; it ends with the mesh.
    """
    from tulle.cli.running import running

    lines = followed(running(mesh))
    for line in islice(lines, count) if count else lines:
        show(line.decode(errors="replace") if as_json else words_of(line))


def followed(mesh: "Running") -> Iterator[bytes]:
    """Lines for as long as the mesh runs. Between two proxies some may be missing: that is said."""
    lines = mesh.lines("/tap")
    while True:
        with suppress(Failure):  # the agent ended rather than the proxy
            yield from lines
        say("tap: the proxy, or the agent before it, has ended; waiting for the next")
        while (again := _again(mesh)) is None:
            if not mesh.is_supervised:
                say(f"tap: mesh `{mesh.name}` has ended")
                return
            time.sleep(_PAUSE_SECONDS)
        lines = again
        say("tap: it is back; what passed meanwhile is not shown")


def _again(mesh: "Running") -> Iterator[bytes] | None:
    try:
        return mesh.lines("/tap")
    except Failure:
        return None


def words_of(line: bytes) -> str:
    """One summary as a person reads it: when, who, what, what came of it; then whatever else the summary holds."""
    try:
        summary = dict(json.loads(line))
        if "dropped" in summary:
            return f"… {summary['dropped']} more, for which this reader was too slow"
        return _words(_moment(summary.pop("time")), summary)
    except (ValueError, KeyError, TypeError):
        return harmless(line.decode(errors="replace"))


def words_of_access(line: str) -> str:
    """A line of the access log, likewise."""
    try:
        summary = dict(json.loads(line))
        moment = str(summary.pop("time"))[11:23]
        if "dropped" in summary:
            return f"{moment}  … {summary['dropped']} more, for which the log was too slow"
        if "lost" in summary:
            return f"{moment}  … {summary['lost']} more, which could not be written"
        left_out = summary.pop("left_out", 0)
        if left_out:
            seconds = summary.pop("seconds", 0)
            return harmless(
                f"{moment}  … {left_out} more of {summary['source']} → {summary['destination']} "
                f"{summary['reason']} within {seconds:g} s"
            )
        summary["seconds"] = summary.pop("duration_ms", 0) / 1000
        return _words(moment, summary)
    except (ValueError, KeyError, TypeError):
        return harmless(line)


def _words(moment: str, summary: dict[str, object]) -> str:
    words = [moment, f"{summary.pop('source')} → {_target(summary)}"]
    words += filter(None, (_request(summary), _outcome(summary), _size(summary)))
    words += (f"{name}={value}" for name, value in summary.items() if value not in ("", None))
    return harmless("  ".join(words))


def _moment(stamp: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(stamp))}.{int(stamp * 1000) % 1000:03d}"


def _target(summary: dict[str, object]) -> str:
    destination, version = summary.pop("destination"), summary.pop("version", "")
    return f"{destination} {version}".rstrip()


def _request(summary: dict[str, object]) -> str:
    method, host, path = (summary.pop(name, "") for name in ("method", "host", "path"))
    protocol = summary.pop("protocol", "http")
    if protocol in ("grpc", "websocket", "upgrade"):
        return f"{protocol} {host}{path}"
    return f"{method} {host}{path}".strip() if path else str(protocol)


def _outcome(summary: dict[str, object]) -> str:
    """The status, gRPC's where it is gRPC, the class where that says more, and why when the proxy answered."""
    status, of_class = str(summary.pop("status", "") or ""), str(summary.pop("class", ""))
    status = str(summary.pop("grpc_status", "") or status)
    reason, policy = summary.pop("reason", ""), summary.pop("policy", "")
    words = [status] if of_class.endswith("xx") else [status, of_class]
    if reason:
        words += [str(reason), f"by {policy}"] if policy else [str(reason)]
    return " ".join(filter(None, words))


def _size(summary: dict[str, object]) -> str:
    seconds, received, sent = (summary.pop(name, None) for name in ("seconds", "bytes_in", "bytes_out"))
    took = ""
    if isinstance(seconds, int | float):
        took = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
    return "  ".join(filter(None, (took, f"{received}/{sent} octets" if received or sent else "")))
