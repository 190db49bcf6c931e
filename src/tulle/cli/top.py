"""`tulle top`: traffic between every pair, live."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import show_json, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from tulle.cli.running import Running
    from tulle.cli.samples import Rate

HEADER = ("FROM", "TO", "VERSION", "RPS", "SUCCESS", "P50", "P99", "DENIED/S")


@click.command()
@click.option("--once", is_flag=True, help="Print one interval and end.")
@click.option(
    "--interval",
    default=1.0,
    type=click.FloatRange(min=0.1),
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@mesh_option
@json_option
def top(once: bool, interval: float, mesh: str | None, as_json: bool) -> None:
    """Show requests per second, success and latency of every pair, from the proxy's own metrics."""
    from tulle.cli.running import running

    found = running(mesh)
    if once or as_json or not sys.stdout.isatty():
        for rates in _every(found, interval):
            _print(rates, as_json)
            if once:
                return
    _live(found, interval)


def _every(found: "Running", interval: float) -> Iterator[list["Rate"]]:
    from tulle.cli.samples import flows, rates

    before, then = flows(found.text("/metrics").decode()), time.monotonic()
    while True:
        time.sleep(interval)
        after, now = flows(found.text("/metrics").decode()), time.monotonic()
        yield rates(before, after, now - then)
        before, then = after, now


def _print(rates: list["Rate"], as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        show_json([asdict(rate) for rate in rates])
    else:
        show_table(HEADER, [_cells(rate) for rate in rates])


def _cells(rate: "Rate") -> tuple[str, ...]:
    return (
        rate.source,
        rate.destination,
        rate.version or "-",
        f"{rate.rps:.1f}",
        "-" if rate.success is None else f"{100 * rate.success:.2f} %",
        _milliseconds(rate.p50),
        _milliseconds(rate.p99),
        f"{rate.denied:.1f}" if rate.denied else "-",
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds else "-"


def _live(found: "Running", interval: float) -> None:
    from rich.live import Live

    with Live(_drawn([]), auto_refresh=False, screen=True) as live:
        for rates in _every(found, interval):
            live.update(_drawn(rates), refresh=True)


def _drawn(rates: list["Rate"]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="right" if number > 2 else "left", no_wrap=True)
    for rate in rates:
        style = "red" if rate.denied or (rate.success is not None and rate.success < 0.99) else None
        table.add_row(*_cells(rate), style=style)
    return table
