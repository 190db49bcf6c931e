"""What people open: shows a label on GET, has a line kept by the historian on POST."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class Panel(BaseHTTPRequestHandler):
    """Asks others by their names; knows nothing of a mesh."""

    def do_GET(self) -> None:
        self._relay(Request("http://labels:8000/index.html") if self.path != "/" else None)

    def do_POST(self) -> None:
        line = self.rfile.read(int(self.headers["Content-Length"]))
        self._relay(Request("http://historian:7000/lines", data=line, method="POST"))

    def _relay(self, request: Request | None) -> None:
        status, body = 200, b"factory\n"
        if request:
            try:
                with urlopen(request, timeout=5) as answer:
                    body = answer.read()
            except HTTPError as refused:
                status, body = refused.code, refused.headers.get("x-tulle-reason", "").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", 8080), Panel).serve_forever()
