"""nginx as a proxy with one worker: deny by source, allow by method and path, split 99 to 1, kept upstream connections, a request id."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import PROXY_CORE, Lacking, Target, require, start
from benchmarks.traffic import Traffic
from tools.ports import free_port

STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
KEPT = 512
"""Idle upstream connections; a gRPC call has one for itself while it lasts."""

CONFIG = """
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid {work}/proxy.pid;
error_log stderr warn;
{module}
events {{ worker_connections 32768; }}
"""

HTTP = """
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 0;
    http2_max_concurrent_streams 1024;
    client_body_temp_path {work}/proxy-body;
    proxy_temp_path {work}/proxy-temp;
    fastcgi_temp_path {work}/proxy-fastcgi;
    uwsgi_temp_path {work}/proxy-uwsgi;
    scgi_temp_path {work}/proxy-scgi;
    split_clients "$request_id" $version {{ 1% v2; * v1; }}
    map $http_upgrade $hop {{ default upgrade; "" ""; }}
    upstream v1 {{ server 127.0.0.1:{v1}; {keep} }}
    upstream v2 {{ server 127.0.0.1:{v2}; {keep} }}
    server {{
        listen 127.0.0.1:{port} backlog=1024{http2};
        deny 10.9.0.0/16;
{locations}
        location / {{ return 403; }}
    }}
}}
"""

KEEP = f"keepalive {KEPT}; keepalive_requests 1000000000; keepalive_timeout 3600s;"

PLAIN = """
        location ^~ {prefix} {{
            limit_except {methods} {{ deny all; }}
            proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Host $http_host;
            proxy_set_header X-Request-Id $request_id;
            {upgrade}
            {bulk}
        }}
"""

BULK = """
            proxy_buffer_size 64k;
            proxy_buffers 8 128k;
            proxy_busy_buffers_size 512k;
            client_body_buffer_size 1m;
"""
"""By pages, as it is unless said, large bodies cost it two and a half times as much; larger buffers than these cost it more again."""

GRPC = """
        location ^~ {prefix} {{
            limit_except {methods} {{ deny all; }}
            grpc_pass grpc://$version;
            grpc_set_header X-Request-Id $request_id;
        }}
"""

TCP = """
stream {{
    split_clients "$remote_addr$remote_port" $version {{ 1% v2; * v1; }}
    upstream v1 {{ server 127.0.0.1:{v1}; }}
    upstream v2 {{ server 127.0.0.1:{v2}; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        deny 10.9.0.0/16;
        tcp_nodelay on;
        proxy_buffer_size {buffer};
        proxy_pass $version;
    }}
}}
"""


def start_nginx(started: ExitStack, work: Path, traffic: Traffic) -> Target:
    """Starts it and waits until it serves; the CPU counted is the worker's."""
    require("nginx")
    if traffic.is_tcp and not STREAM.exists():
        raise Lacking("nginx has no stream module (apt-get install libnginx-mod-stream)")
    port = free_port()
    config = work / "proxy.conf"
    config.write_text(_config(work, port, traffic))
    log = work / "proxy.log"
    process = start(started, PROXY_CORE, ["nginx", "-p", work, "-c", config, "-e", "stderr"], log)
    traffic.await_service("nginx", port, process, log)
    return Target("nginx", port, _worker_of(process.pid))


def _config(work: Path, port: int, traffic: Traffic) -> str:
    location = GRPC if traffic.is_http2 else PLAIN
    upgrade = ("Upgrade $http_upgrade", "Connection $hop") if traffic.upgrades else ('Connection ""',)
    locations = (
        location.format(
            prefix=prefix,
            methods=" ".join(traffic.methods),
            upgrade=" ".join(f"proxy_set_header {words};" for words in upgrade),
            bulk=BULK if traffic.is_bulk else "",
        )
        for prefix in traffic.prefixes
    )
    return (CONFIG + (TCP if traffic.is_tcp else HTTP)).format(
        user="user root;" if os.geteuid() == 0 else "",
        module=f"load_module {STREAM};" if traffic.is_tcp else "",
        work=work,
        port=port,
        v1=traffic.backend.ports[0],
        v2=traffic.backend.ports[1],
        keep=KEEP,
        buffer="1m" if traffic.is_bulk else "64k",
        http2=" http2" if traffic.is_http2 else "",
        locations="".join(locations),
    )


def _worker_of(master: int) -> int:
    """The one child of nginx's master, which serves."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if len(children) == 1:
            return int(children[0])
        time.sleep(0.02)
    raise Lacking(f"nginx has {len(children)} workers")
