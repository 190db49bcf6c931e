"""What the demo shows while it runs, and its verdict at the end."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tools.binomial import is_plausible, wilson
from tools.exposition import Series, total
from tools.footprint import Footprint
from tools.load import Report
from tulle.cli.samples import Flow, Pair, summed

V2_SHARE = 0.01
CONFIDENCE = 0.999_999
"""Of the split: by chance alone one demo in a million is said to be wrong."""
ORDERS = "default/orders"
SPY, PAYMENTS = "dev/spy", "prod/payments"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was observed, before anybody judges it."""

    through: Report
    direct: Report
    series: list[Series]
    weights: Footprint

    def split(self) -> tuple[int, int]:
        """Pages behind which orders v2 was, and all pages: as the client saw it."""
        return self.through.versions["v2"], self.through.versions.total()

    def counted(self) -> float:
        """Requests that orders answered, as the proxy counted them."""
        return sum(f.requests for pair, f in summed(self.series).items() if pair.destination == ORDERS and pair.version)

    def refusals(self) -> list[Series]:
        """Who was refused what, by which policy."""
        return [s for s in self.series if s.name == "tulle_denied_total" and s.value > 0]


def judge(seen: Seen) -> list[str]:
    """What is not as it should be, in words; nothing when all is well."""
    faults = []
    hits, trials = seen.split()
    if seen.counted() != seen.through.answered:
        faults.append(f"the proxy counted {seen.counted():g} requests to orders for {seen.through.answered} pages")
    if not is_plausible(hits, trials, V2_SHARE, CONFIDENCE):
        faults.append(f"{hits} of {trials} by v2 is outside the {100 * CONFIDENCE:g} % bound of 1 %")
    if seen.through.failed or not seen.through.answered:
        faults.append(f"{seen.through.failed} of {seen.through.sent} requests failed: {failures(seen.through)}")
    stopped = [s for s in seen.refusals() if (s.labels["source"], s.labels["destination"]) == (SPY, PAYMENTS)]
    if not stopped:
        faults.append(f"{SPY} was never refused at {PAYMENTS}")
    if any(not s.labels["policy"] for s in stopped):
        faults.append(f"a refusal of {SPY} names no policy")
    for pair, flow in summed(seen.series).items():
        if (pair.source, pair.destination) == (SPY, PAYMENTS):
            if flow.succeeded:
                faults.append(f"{flow.succeeded:g} requests of {SPY} reached {PAYMENTS}")
        elif flow.requests > flow.succeeded:
            faults.append(
                f"{flow.requests - flow.succeeded:g} requests failed from {pair.source} to {pair.destination}"
            )
    others = {s.labels["source"] for s in seen.refusals()} - {SPY}
    if others:
        faults.append(f"refused, and should not be: {', '.join(sorted(others))}")
    return faults


def failures(report: Report) -> str:
    """Statuses of 400 and above, reasons, and requests without an answer."""
    bad = {str(status): n for status, n in report.statuses.items() if status >= 400}
    kinds = {**bad, **report.reasons, **{failure.value: n for failure, n in report.failures.items()}}
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"


def watch(series: Callable[[], list[Series]], is_running: Callable[[], bool], report: Report) -> None:
    """Draws until it runs no more: a live table on a terminal, otherwise a line every few seconds."""
    began = time.monotonic()
    earlier: dict[Pair, Flow] = {}
    if sys.stdout.isatty():
        with Live(refresh_per_second=2) as live:
            while is_running():
                time.sleep(1.0)
                now = summed(series())
                live.update(_table(now, earlier))
                earlier = now
        return
    next_line = began + 5.0
    while is_running():
        time.sleep(0.2)
        if time.monotonic() >= next_line:
            next_line += 5.0
            series_now = series()
            refused = total(series_now, "tulle_denied_total")
            print(
                f"  {time.monotonic() - began:3.0f} s  {report.answered} answered, {report.failed} failed, "
                f"p50 {_ms(report.quantile(0.5))}, {refused:g} refused", flush=True,
            )  # fmt: skip


def _table(now: dict[Pair, Flow], earlier: dict[Pair, Flow]) -> Table:
    table = Table("from", "to", "version", "rps", "success", "p50", "p99", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    for pair, flow in sorted(now.items()):
        recent = flow.since(earlier.get(pair))
        success = f"{recent.succeeded / recent.requests:.1%}" if recent.requests else "–"
        latency = _latency(recent)
        table.add_row(pair.source, pair.destination, pair.version, f"{recent.requests:.0f}", success, *latency)
    return table


def print_report(seen: Seen, faults: list[str], hints: list[str]) -> None:
    """The findings, the verdict, and where to look next."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n[bold]pairs[/]")
    table = Table("from", "to", "version", "requests", "success", "p50", "p99", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    for pair, flow in sorted(summed(seen.series).items()):
        success = f"{flow.succeeded / flow.requests:.2%}" if flow.requests else "–"
        latency = _latency(flow)
        table.add_row(pair.source, pair.destination, pair.version, f"{flow.requests:.0f}", success, *latency)
    console.print(table)
    hits, trials = seen.split()
    low, high = wilson(hits, trials)
    inside = "holds" if low <= V2_SHARE <= high else "does not hold"
    share = hits / trials if trials else float("nan")
    console.print(f"\n[bold]split[/]     orders v2 was behind {hits} of {trials} pages: {share:.2%}; 95 % interval "
                  f"{low:.2%} to {high:.2%} {inside} 1 %")  # fmt: skip
    for name, report in (("mesh", seen.through), ("direct", seen.direct)):
        console.print(f"[bold]{name:9}[/] p50 {_ms(report.quantile(0.5))}, p99 {_ms(report.quantile(0.99))}, "
                      f"{report.answered / max(report.seconds, 1e-9):.0f} requests/s")  # fmt: skip
    console.print(f"[bold]failed[/]    {seen.through.failed} of {seen.through.sent} ({failures(seen.through)})")
    for refusal in seen.refusals():
        labels = refusal.labels
        console.print(f"[bold]refused[/]   {labels['source']} → {labels['destination']}: {refusal.value:g} times, "
                      f"{labels['reason']}, by {labels['policy'] or 'nobody: no policy allows it'}")  # fmt: skip
    _print_weights(console, seen.weights)
    console.print("\n[bold]look further[/]" + ("" if not hints else ", while it is up (KEEP=1)"))
    for hint in hints:
        console.print(f"  {hint}")
    console.print()
    for fault in faults:
        console.print(f"[red]error[/]: {fault}")
    console.print("[red]not as it should be[/]" if faults else "[green]all as it should be[/]")


def _print_weights(console: Console, weights: Footprint) -> None:
    megabyte = 1024 * 1024
    each = ", ".join(f"{w.role} {w.rss / megabyte:.1f}" for w in weights.processes if w.role != "pod init")
    inits = [w for w in weights.processes if w.role == "pod init"]
    each += f", {len(inits)} pod inits {sum(w.rss for w in inits) / megabyte:.1f}"
    console.print(f"[bold]memory[/]    MB RSS: {each}; all of Tulle {all_pss(weights)}")


def all_pss(weights: Footprint) -> str:
    """Where some could not be read, the bounds and why."""
    least, most = weights.pss / 2**20, weights.pss_at_most / 2**20
    if not weights.unreadable:
        return f"{least:.1f} PSS"
    return (
        f"between {least:.1f} and {most:.1f} PSS: {weights.unreadable} processes hide their memory from this user "
        "(as root it is exact)"
    )


def _latency(flow: Flow) -> list[str]:
    return [_ms(flow.quantile(q) if flow.requests else math.nan) for q in (0.5, 0.99)]


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{seconds * 1000:.2f} ms"
