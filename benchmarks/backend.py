"""nginx as the service: two ports for two versions, a small body, ten fields, two of them new in each answer to a query with `cart`."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.process import LOAD_CORE, await_answer, start
from tools.ports import free_port

CONFIG = """
{user}
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    default_type application/json;
    add_header Cache-Control "no-store";
    add_header Vary "Accept-Encoding";
    add_header X-Content-Type-Options "nosniff";
    map $arg_cart $etag {{ "" '"5f2c-1a"'; default '"$msec-$connection_requests"'; }}
    map $arg_cart $answer {{ "" "9d3b1f64c07e4a52b8d16f03e27a95c4"; default "$request_id"; }}
    add_header ETag $etag;
    add_header X-Answer-Id $answer;
    server {{
        listen 127.0.0.1:{v1};
        location / {{ return 200 '{{"order":1,"version":"v1"}}'; }}
        location = /orders/0 {{ add_header X-None ""; return 200 '{{"order":0}}'; }}  # its own, empty, stands for all fields above
    }}
    server {{
        listen 127.0.0.1:{v2};
        location / {{ return 200 '{{"order":1,"version":"v2"}}'; }}
        location = /orders/0 {{ add_header X-None ""; return 200 '{{"order":0}}'; }}  # its own, empty, stands for all fields above
    }}
}}
"""


class Backend(NamedTuple):
    """Where the two versions listen, on 127.0.0.1."""

    ports: tuple[int, int]


def start_backend(started: ExitStack, work: Path) -> Backend:
    """Starts nginx on the core that the load has too."""
    backend = Backend((free_port(), free_port()))
    config = work / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(user=user, work=work, v1=backend.ports[0], v2=backend.ports[1]))
    log = work / "nginx.log"
    process = start(started, LOAD_CORE, ["nginx", "-p", work, "-c", config, "-e", "stderr"], log)
    await_answer("nginx", backend.ports[0], process, log)
    return backend
