"""Keeps lines: POST /lines adds one, GET /lines tells how many. Fetches the label once a second, by the forward proxy."""

import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

lines: list[bytes] = []


class Historian(BaseHTTPRequestHandler):
    """A service of the box: the mesh has not started it, and it does not know of one."""

    def do_GET(self) -> None:
        self._answer(b"%d lines\n" % len(lines))

    def do_POST(self) -> None:
        lines.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"kept %d\n" % len(lines))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """On IPv6 loopback alone."""

    address_family = socket.AF_INET6


def fetch_labels() -> None:
    """Its own calls: attested by user and control group, whatever it says of itself."""
    mesh = build_opener(ProxyHandler({"http": os.environ.get("http_proxy", "http://127.0.0.1:15001")}))
    while True:
        try:
            with mesh.open("http://labels:8000/index.html", timeout=5) as answer:
                print("label", answer.read().decode().strip(), flush=True)
        except HTTPError as refused:
            print("refused", refused.code, refused.headers.get("x-tulle-reason"), flush=True)
        except (URLError, OSError) as fault:
            print("no mesh", fault, flush=True)
        time.sleep(1)


threading.Thread(target=fetch_labels, daemon=True).start()
Server(("::1", 7000), Historian).serve_forever()
