"""The Grafana dashboard, as data. `make gen` writes it; a test runs every query against a real Prometheus."""

import json
from typing import Any, NamedTuple

HERE = 'instance=~"$instance"'
OF = f'{HERE},destination=~"$service"'
FAILED = 'response_class=~"5xx|truncated"'
PROXY = "and on (instance, job) tulle_build_info"
"""Metrics that programs of all kinds have: only those of a proxy."""
WIDTH = 24
HEIGHT = 8


class Panel(NamedTuple):
    """One picture: a title, its queries with their legends, how it is drawn."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    about: str = ""


def rate(metric: str, *by: str, where: str = "") -> str:
    """Per second, summed by these labels; those that name a service only where one is chosen."""
    chosen = OF if "destination" in by else HERE
    return f"sum by ({', '.join(by)}) (rate({metric}{{{chosen}{where and ',' + where}}}[$window]))"


def quantile(share: float, *by: str) -> str:
    """Seconds within which so many requests were answered."""
    return f"histogram_quantile({share}, {rate('tulle_request_duration_seconds_bucket', 'le', *by)})"


def ratio(*by: str) -> str:
    """Share of requests that failed; 0 where none did."""
    everything = rate("tulle_requests_total", *by)
    return f"({rate('tulle_requests_total', *by, where=FAILED)} or 0 * {everything}) / {everything}"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Services",
        (
            Panel("Nodes", ((f"count(tulle_build_info{{{HERE}}})", ""),), kind="stat", width=4),
            Panel("Requests", ((rate("tulle_requests_total", "destination"), "{{destination}}"),), "reqps", width=10),
            Panel(
                "Errors",
                ((ratio("destination"), "{{destination}}"),),
                "percentunit",
                width=10,
                about="Share of requests that were answered 5xx, or broken off by the endpoint.",
            ),
            Panel(
                "Latency",
                tuple((quantile(q, "destination"), f"{{{{destination}}}} p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
                "s",
            ),
            Panel(
                "Latency, all requests",
                ((f"sum by (le) (increase(tulle_request_duration_seconds_bucket{{{OF}}}[$window]))", "{{le}}"),),
                "s",
                "heatmap",
            ),
            Panel(
                "Saturation",
                (
                    (f"sum by (instance) (tulle_requests_in_flight{{{HERE}}})", "{{instance}} requests in flight"),
                    (f"sum by (instance) (tulle_upstream_connections_open{{{HERE}}})", "{{instance}} connections to endpoints"),
                ),
                about="What is being served now.",
            ),
            Panel(
                "Waiting for slow readers", ((f"sum by (instance) (tulle_buffered_bytes{{{HERE}}})", "{{instance}}"),), "bytes"
            ),
        ),
    ),
    (
        "Who calls whom",
        (
            Panel(
                "Requests by pair",
                ((rate("tulle_requests_total", "source", "destination", "version"), "{{source}} → {{destination}} {{version}}"),),
                "reqps",
            ),
            Panel("p99 by pair", ((quantile(0.99, "source", "destination"), "{{source}} → {{destination}}"),), "s"),
            Panel(
                "Errors by pair", ((ratio("source", "destination"), "{{source}} → {{destination}}"),), "percentunit"
            ),
            Panel(
                "Second attempts",
                ((rate("tulle_retries_total", "destination", "cause"), "{{destination}} {{cause}}"),),
                "reqps",
            ),
            Panel(
                "Octets",
                (
                    (rate("tulle_request_bytes_total", "source", "destination"), "{{source}} → {{destination}}"),
                    (rate("tulle_response_bytes_total", "source", "destination"), "{{source}} ← {{destination}}"),
                ),
                "Bps",
            ),
            Panel(
                "Connections of callers",
                ((f"sum by (source, destination, protocol) (tulle_connections_open{{{OF}}})", "{{source}} → {{destination}} {{protocol}}"),),
            ),
        ),
    ),
    (
        "Refused",
        (
            Panel(
                "Denied, by policy and reason",
                ((rate("tulle_denied_total", "source", "destination", "policy", "reason"), "{{source}} → {{destination}} {{reason}} {{policy}}"),),
                "reqps",
            ),
            Panel(
                "Would be denied (shadow)",
                ((rate("tulle_shadow_denied_total", "source", "destination", "policy", "reason"), "{{source}} → {{destination}} {{reason}} {{policy}}"),),
                "reqps",
            ),
            Panel(
                "Answers of the mesh itself, by reason",
                ((rate("tulle_answers_total", "destination", "reason"), "{{destination}} {{reason}}"),),
                "reqps",
            ),
            Panel(
                "Refused before a request was read",
                (
                    (rate("tulle_connections_refused_total", "source", "cause"), "{{source}} {{cause}}"),
                ),
                "reqps",
            ),
            Panel(
                "Squatted",
                ((rate("tulle_squatted_total", "instance", "workload"), "{{instance}} {{workload}}"),),
                "ops",
                about="Attempts to reach an attached service that found another program at its port. Nothing was sent.",
            ),
        ),
    ),
    (
        "gRPC, TCP, WebSocket",
        (
            Panel("gRPC by status", ((rate("tulle_grpc_responses_total", "destination", "grpc_status"), "{{destination}} {{grpc_status}}"),), "reqps"),
            Panel(
                "TCP connections that ended",
                ((rate("tulle_tcp_connections_total", "source", "destination", "response_class"), "{{source}} → {{destination}} {{response_class}}"),),
                "ops",
            ),
            Panel(
                "How long they lasted",
                (
                    (
                        " / ".join(
                            rate(f"tulle_tcp_{one}_total", "destination") for one in ("connection_seconds", "connections")
                        ),
                        "{{destination}}",
                    ),
                ),
                "s",
                about="On average.",
            ),
            Panel("WebSocket closes", ((rate("tulle_websocket_closes_total", "destination", "code", "by"), "{{destination}} {{code}} by {{by}}"),), "ops"),
        ),
    ),
    (
        "Endpoints",
        (
            Panel(
                "Ready",
                ((f"min by (instance, workload, port) (tulle_endpoint_ready{{{HERE}}})", "{{workload}}:{{port}}"),),
                kind="state-timeline",
            ),
            Panel(
                "Pods ready",
                ((f"min by (instance, pod) (tulle_pod_ready{{{HERE}}})", "{{pod}}"),),
                kind="state-timeline",
                about="Pushed metrics only.",
            ),
            Panel(
                "Restarts of pods",
                ((f"sum by (pod) (increase(tulle_pod_restarts_total{{{HERE}}}[$window]))", "{{pod}}"),),
                about="Pushed metrics only.",
            ),
        ),
    ),
    (
        "The mesh itself",
        (
            Panel(
                "Memory",
                (
                    (f"process_resident_memory_bytes{{{HERE}}} {PROXY}", "{{instance}} proxy"),
                    (f"tulle_agent_resident_memory_bytes{{{HERE}}}", "{{instance}} agent"),
                ),
                "bytes",
            ),
            Panel(
                "CPU",
                (
                    (f"rate(process_cpu_seconds_total{{{HERE}}}[$window]) {PROXY}", "{{instance}} proxy"),
                    (f"rate(tulle_agent_cpu_seconds_total{{{HERE}}}[$window])", "{{instance}} agent"),
                ),
                "percentunit",
                about="Share of one core.",
            ),
            Panel(
                "Generation",
                (
                    (f"tulle_snapshot_generation{{{HERE}}}", "{{instance}} in force"),
                    (f"tulle_wanted_generation{{{HERE}}}", "{{instance}} wanted"),
                ),
            ),
            Panel(
                "Faults",
                (
                    (f"sum by (instance, result) (increase(tulle_snapshots_total{{{HERE}}}[$window]))", "{{instance}} snapshots {{result}}"),
                    (f"sum by (instance) (increase(tulle_defects_total{{{HERE}}}[$window]))", "{{instance}} defects"),
                    (f"sum by (instance) (increase(tulle_tap_dropped_total{{{HERE}}}[$window]))", "{{instance}} tap lines lost"),
                    (f"tulle_manifest_problems{{{HERE}}}", "{{instance}} manifest problems"),
                ),
            ),
            Panel(
                "Push: samples",
                (
                    (f"rate(tulle_push_samples_total{{{HERE}}}[$window])", "{{instance}} taken"),
                    (f"rate(tulle_push_samples_dropped_total{{{HERE}}}[$window])", "{{instance}} dropped: {{reason}}"),
                ),
                "cps",
            ),
            Panel(
                "Push: since the last success",
                ((f"time() - tulle_push_last_success_timestamp_seconds{{{HERE}}}", "{{instance}}"),),
                "s",
            ),
            Panel(
                "Push: requests",
                ((rate("tulle_push_requests_total", "instance", "outcome"), "{{instance}} {{outcome}}"),),
                "reqps",
            ),
            Panel(
                "Push: octets",
                (
                    (f"rate(tulle_push_bytes_total{{{HERE}}}[$window])", "{{instance}} sent a second"),
                    (f"tulle_push_waiting_bytes{{{HERE}}}", "{{instance}} waiting"),
                ),
                "bytes",
            ),
        ),
    ),
)  # fmt: skip


def dashboard() -> str:
    """JSON that Grafana imports; it asks which Prometheus to use."""
    board = {
        "title": "Tulle",
        "uid": "tulle",
        "description": "Services of Tulle meshes: who calls whom, how fast, what is refused, and how the mesh itself does.",
        "tags": ["tulle", "service mesh"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": _panels(),
    }
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _variables() -> list[dict[str, Any]]:
    chosen = {
        "type": "query",
        "datasource": _source(),
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "refresh": 2,
    }
    chosen |= {"sort": 1, "current": {"text": ["All"], "value": ["$__all"]}}
    windows = ("5m", "15m", "1h")
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        {"name": "instance", "label": "Node", **chosen, **_looked_up("label_values(tulle_build_info, instance)")},
        {
            "name": "service",
            "label": "Service",
            **chosen,
            **_looked_up("label_values(tulle_connections_total, destination)"),
        },
        {
            "name": "window",
            "label": "Rates over",
            "type": "custom",
            "query": ",".join(windows),
            "current": {"text": "5m", "value": "5m"},
            "options": [{"text": one, "value": one, "selected": one == "5m"} for one in windows],
        },
    ]


def _looked_up(query: str) -> dict[str, Any]:
    return {"definition": query, "query": {"query": query, "refId": "variable"}}


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS:
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        top, left = top + 1, 0
        for panel in panels:
            if left + panel.width > WIDTH:
                top, left = top + HEIGHT, 0
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHT}
            made.append({"id": len(made) + 1, "gridPos": place, **_drawn(panel)})
            left += panel.width
        top += HEIGHT
    return made


def _drawn(panel: Panel) -> dict[str, Any]:
    is_map = panel.kind == "heatmap"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": _source(),
            "expr": expression,
            "legendFormat": legend or "__auto",
            "range": True,
            "format": "heatmap" if is_map else "time_series",
        }
        for number, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _source(),
        "targets": targets,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    if panel.kind != "state-timeline":
        return {"unit": panel.unit, "min": 0}
    states = {
        "0": {"text": "not ready", "color": "red", "index": 0},
        "1": {"text": "ready", "color": "green", "index": 1},
    }
    return {"mappings": [{"type": "value", "options": states}], "custom": {"fillOpacity": 80, "lineWidth": 0}}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "heatmap":
        return {
            "calculate": False,
            "cellGap": 0,
            "color": {"mode": "scheme", "scheme": "Oranges"},
            "yAxis": {"unit": panel.unit},
        }
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    if panel.kind == "state-timeline":
        return {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
