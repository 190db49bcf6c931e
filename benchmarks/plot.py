"""A picture of what a request costs, through every program of a run: `python -m benchmarks.plot RAW.json [cost.svg]`."""

import argparse
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from benchmarks.record import Run, read_run
from benchmarks.summary import Figure, figure

PANELS: Final = (
    ("http1", "heads=repeat", "HTTP/1.1, heads that repeat"),
    ("http1", "heads=differ", "HTTP/1.1, heads that differ"),
    ("grpc", "heads=repeat", "gRPC, heads that repeat"),
    ("grpc", "heads=differ", "gRPC, heads that differ"),
)
"""Case, variant and title, two to a line."""
NAMES: Final = {
    "pump": "byte pump, in C",
    "tulle": "Tulle",
    "tulle-interpreted": "Tulle, interpreted",
    "haproxy": "HAProxy, policy",
    "nginx": "nginx, policy",
    "envoy-routing": "Envoy, routing only",
    "envoy": "Envoy, policy",
}
"""In the order of the bars."""

WIDTH, PANEL, MARGIN, LABELS, FIGURES = 940, 460, 20, 150, 70
HEAD, TITLE, BAR, STEP, FOOT = 74, 30, 17, 26, 34

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
  .ground { fill: #ffffff } .quiet { fill: #52606d } .title { font-weight: 600 } .head { font-size: 17px; font-weight: 600 }
  .user { fill: #52677d } .system { fill: #a9b7c6 } .own .user { fill: #0b7a75 } .own .system { fill: #7cc4bf }
  .own text { font-weight: 600 } .range { stroke: #1f2933; stroke-width: 1.5 } .base { stroke: #9aa5b1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .ground { fill: #0d1117 } .quiet { fill: #9aa7b4 }
    .user { fill: #8b9eb3 } .system { fill: #47586b } .own .user { fill: #3fc7bd } .own .system { fill: #1f6f6a }
    .range { stroke: #e6edf3 } .base { stroke: #57606a }
  }
"""


class Bar(NamedTuple):
    """One program in one panel, in microseconds of CPU."""

    name: str
    is_own: bool
    user: float
    system: float
    whole: Figure


class Panel(NamedTuple):
    """What is drawn of one case and variant."""

    title: str
    bars: list[Bar]


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("svg", type=Path, nargs="?", default=Path(__file__).with_name("cost.svg"))
    asked = parser.parse_args()
    asked.svg.write_text(as_svg(read_run(asked.raw)))
    print(f"written: {asked.svg}")


def panels_of(run: Run) -> list[Panel]:
    """Panels that have a bar. Raises ValueError when there is none at all."""
    panels = [Panel(title, _bars(run, case, variant)) for case, variant, title in PANELS]
    drawn = [panel for panel in panels if panel.bars]
    if not drawn:
        raise ValueError("the run has none of the costs that are drawn")
    return drawn


def as_svg(run: Run) -> str:
    """Panels of horizontal bars, user and system time stacked, with the range of the rounds; readable on light and dark."""
    panels = panels_of(run)
    lines = [panels[at : at + 2] for at in range(0, len(panels), 2)]
    heights = [TITLE + STEP * max(len(panel.bars) for panel in line) + 16 for line in lines]
    height = HEAD + sum(heights) + FOOT
    drawn, top = [], HEAD
    for line, tall in zip(lines, heights, strict=True):
        drawn += [_panel(panel, place * PANEL + MARGIN, top) for place, panel in enumerate(line)]
        top += tall
    machine = ", ".join(
        f"{name} {run.machine[name]}"
        for name in ("cpu", "kernel", "python", "haproxy", "nginx", "envoy")
        if name in run.machine
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" {_words(panels)}>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
            f'<text class="head" x="{MARGIN}" y="30">CPU of the proxy, microseconds per request or call; less is better</text>',
            _legend(MARGIN, 44),
            *drawn,
            f'<text class="quiet" x="{MARGIN}" y="{height - 14}" style="font-size:11px">{escape(machine)}</text>',
            "</svg>",
            "",
        ]
    )


def _bars(run: Run, case: str, variant: str) -> list[Bar]:
    bars = []
    for target, name in NAMES.items():
        whole = figure(run, case, variant, target, "cpu_us")
        user = figure(run, case, variant, target, "user_us")
        if whole is not None and user is not None:
            share = min(user.median, whole.median)
            bars.append(Bar(name, target.startswith("tulle"), share, whole.median - share, whole))
    return bars


def _panel(panel: Panel, left: int, top: int) -> str:
    room = PANEL - MARGIN - LABELS - FIGURES
    scale = room / max(bar.whole.most for bar in panel.bars)
    start = left + LABELS
    bottom = top + TITLE + STEP * len(panel.bars) - 4
    parts = [f'<text class="title" x="{left}" y="{top + 16}">{escape(panel.title)}</text>']
    for number, bar in enumerate(panel.bars):
        parts.append(_bar(bar, start, top + TITLE + STEP * number, scale))
    parts.append(f'<line class="base" x1="{start}" x2="{start}" y1="{top + TITLE - 4}" y2="{bottom}"/>')
    return "\n".join(parts)


def _bar(bar: Bar, left: int, top: int, scale: float) -> str:
    user, system = bar.user * scale, bar.system * scale
    least, most = bar.whole.least * scale, bar.whole.most * scale
    middle = top + BAR / 2
    shown = f"{bar.whole.median:.1f}"
    return "\n".join(
        [
            f'<g class="{"own" if bar.is_own else "peer"}">',
            f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="user" x="{left}" y="{top}" width="{user:.1f}" height="{BAR}"/>',
            f'<rect class="system" x="{left + user:.1f}" y="{top}" width="{system:.1f}" height="{BAR}"/>',
            f'<line class="range" x1="{left + least:.1f}" x2="{left + most:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text x="{left + max(user + system, most) + 7:.1f}" y="{top + 13}">{shown}</text>',
            "</g>",
        ]
    )


def _legend(left: int, top: int) -> str:
    parts = []
    for place, (kind, words) in enumerate((("user", "user time"), ("system", "system time, the kernel's"))):
        x = left + 100 * place
        parts.append(f'<rect class="{kind}" x="{x}" y="{top}" width="13" height="13"/>')
        parts.append(f'<text class="quiet" x="{x + 19}" y="{top + 11}">{words}</text>')
    x = left + 300
    parts.append(f'<line class="range" x1="{x}" x2="{x + 20}" y1="{top + 6.5}" y2="{top + 6.5}"/>')
    parts.append(f'<text class="quiet" x="{x + 26}" y="{top + 11}">least and most of the rounds</text>')
    return "\n".join(parts)


def _words(panels: list[Panel]) -> str:
    """The picture for who does not see it, as attributes."""
    said = (
        f"{panel.title}: " + ", ".join(f"{bar.name} {bar.whole.median:.1f}" for bar in panel.bars) for panel in panels
    )
    return f'role="img" aria-label={quoteattr("; ".join(said))}'


if __name__ == "__main__":
    main()
