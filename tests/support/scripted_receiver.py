"""A receiver of remote write that answers as its script says, and remembers what it was sent."""

import contextlib
import socket
import threading
from queue import Queue

from tests.support.proxy_harness import read_head

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
HANG, CLOSE = b"hang", b"close"


class Scripted:
    """Answers each request with the next line of its script; remembers heads, bodies and how often it was dialled."""

    def __init__(self, *script: bytes) -> None:
        self.heads: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.dialled = 0
        self._script: Queue[bytes] = Queue()
        for one in script:
            self._script.put(one)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._listener.close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.dialled += 1
            with sock, contextlib.suppress(ConnectionError):
                sock.settimeout(20)
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        rest = b""
        while True:
            head, rest = read_head(sock, rest)
            if not head:
                return
            lines = head.decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            while len(rest) < int(fields["content-length"]):
                if not (octets := sock.recv(65536)):
                    return
                rest += octets
            self.heads.append({"": lines[0], **fields})
            body, rest = rest[: int(fields["content-length"])], rest[int(fields["content-length"]) :]
            self.bodies.append(body)
            answer = self._script.get(timeout=20)
            if answer == HANG:
                self._over.wait(20)
                return
            if answer == CLOSE:
                return
            sock.sendall(answer)
