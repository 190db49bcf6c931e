"""What the shop's services share: a threaded JSON server, and GET over a connection that is kept."""

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, object]]


def serve(port: int, respond: Callable[[str], Answer]) -> None:
    """Answers every GET with what `respond` makes of its path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65536

        def do_GET(self) -> None:
            status, document = respond(self.path)
            body = json.dumps(document).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if "version" in document:
                self.send_header("X-Version", str(document["version"]))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing of requests: the mesh does."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024
        daemon_threads = True

    server = Server(("", port), Handler)
    print(f"listening on {port}", flush=True)
    server.serve_forever()


_kept = threading.local()


def fetch(host: str, path: str) -> Answer:
    """GETs http://host/path; a connection that went stale is replaced once."""
    for attempt in (1, 2):
        connection: http.client.HTTPConnection | None = getattr(_kept, host, None)
        if connection is None:
            connection = http.client.HTTPConnection(host, timeout=30)
            setattr(_kept, host, connection)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            setattr(_kept, host, None)
            if attempt == 2:
                raise
        else:
            if "json" in (answer.headers.get("Content-Type") or ""):
                return answer.status, json.loads(body)
            return answer.status, {
                "reason": answer.headers.get("x-tulle-reason"),
                "said": body.decode(errors="replace"),
            }
    raise AssertionError("two attempts end in an answer or an exception")
