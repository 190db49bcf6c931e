"""`tulle tap`: requests as they end."""

import json
from itertools import islice

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import show


@click.command()
@click.option("--count", "-n", default=0, metavar="N", help="End after N requests.")
@mesh_option
@json_option
def tap(count: int, mesh: str | None, as_json: bool) -> None:
    """Follow requests as they end: who called whom, what came of it. JSON lines with --json."""
    from tulle.cli.running import running

    lines = running(mesh).lines("/tap")
    for line in islice(lines, count) if count else lines:
        show(line.decode(errors="replace") if as_json else _words(line))


def _words(line: bytes) -> str:
    """`source → destination` first, then what else the summary holds."""
    try:
        summary = json.loads(line)
        source, destination = summary.pop("source"), summary.pop("destination")
    except (ValueError, KeyError, AttributeError, TypeError):
        return line.decode(errors="replace")
    rest = "  ".join(f"{name}={value}" for name, value in summary.items() if value not in ("", None))
    return f"{source} → {destination}  {rest}"
