"""HAProxy with one thread, doing what Tulle does: deny by source, allow by method and path, split 99 to 1, count, add a request id."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import PROXY_CORE, Target, require, start
from benchmarks.traffic import Traffic
from tools.ports import free_port

GLOBAL = """
global
    nbthread 1
    maxconn 8192
    maxpipes 256
    tune.pipesize 1048576
    stats socket {work}/haproxy.sock
defaults
    timeout client 300s
    timeout server 300s
    timeout connect 2s
{splicing}
"""

SPLICING = """
    option splice-request
    option splice-response
"""

HTTP = """
    mode http
    timeout http-request 10s
    timeout tunnel 300s
    http-reuse always
frontend orders
    bind 127.0.0.1:{port} backlog 1024{proto}
    unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
    unique-id-header x-request-id
    acl from_dev src 10.9.0.0/16
    acl orders_method method {methods}
    acl orders_path path_beg -f {paths}
    http-request deny if from_dev
    http-request deny unless orders_method orders_path
    default_backend orders
backend orders
    balance random(2)
    server v1 127.0.0.1:{v1}{proto} weight 99
    server v2 127.0.0.1:{v2}{proto} weight 1
"""

TCP = """
    mode tcp
frontend orders
    bind 127.0.0.1:{port} backlog 1024
    acl from_dev src 10.9.0.0/16
    tcp-request connection reject if from_dev
    default_backend orders
backend orders
    balance random(2)
    server v1 127.0.0.1:{v1} weight 99
    server v2 127.0.0.1:{v2} weight 1
"""


def start_haproxy(started: ExitStack, work: Path, traffic: Traffic) -> Target:
    """Starts it and waits until it serves. A list of paths is searched as a tree, however long it is; splice-auto would copy bulk."""
    require("haproxy")
    port = free_port()
    paths = work / "haproxy.paths"
    paths.write_text("".join(f"{prefix}\n" for prefix in traffic.prefixes))
    config = work / "haproxy.cfg"
    config.write_text(
        (GLOBAL + (TCP if traffic.is_tcp else HTTP)).format(
            work=work,
            splicing=SPLICING if traffic.is_bulk else "",
            port=port,
            v1=traffic.backend.ports[0],
            v2=traffic.backend.ports[1],
            proto=" proto h2" if traffic.is_http2 else "",
            methods=" ".join(traffic.methods),
            paths=paths,
        )
    )
    log = work / "haproxy.log"
    process = start(started, PROXY_CORE, ["haproxy", "-db", "-f", config], log)
    traffic.await_service("haproxy", port, process, log)
    return Target("haproxy", port, process.pid)
