"""An endpoint that reads what the proxy sends with somebody else's parsers: `h11` and PyPI's `h2`."""

from __future__ import annotations

import contextlib
import socket
import threading

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError, StreamClosedError

from tests.support.bridging import Pairs


class Judge:
    """An endpoint that reads with somebody else's parser, and counts what it reads."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, Pairs]] = []
        """Target, body and fields of each request that came."""
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def take(self) -> list[tuple[bytes, bytes, Pairs]]:
        """What came since the last call."""
        with self._lock:
            seen, self.requests = self.requests, []
        assert not self.faults
        return seen

    def h1(self, sock: socket.socket) -> None:
        """Serves HTTP/1.1 by h11."""
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request, body = None, b""
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        octets = sock.recv(65536)
                        if not octets:
                            return
                        connection.receive_data(octets)
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                assert request is not None
                self._note(request.target, body, list(request.headers))
                answer = h11.Response(status_code=200, headers=[(b"content-length", b"2")])
                out = connection.send(answer) or b""
                if request.method != b"HEAD":
                    out += connection.send(h11.Data(data=b"ok")) or b""
                out += connection.send(h11.EndOfMessage()) or b""
                sock.sendall(out)
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self.faults.append(repr(error))

    def h2(self, sock: socket.socket) -> None:
        """Serves HTTP/2 by PyPI's h2; answers have neither length nor body."""
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        asked: dict[int, list[tuple[bytes, bytes]]] = {}
        bodies: dict[int, bytes] = {}
        sock.sendall(connection.data_to_send())
        while octets := sock.recv(65536):
            try:
                events = connection.receive_data(octets)
            except ProtocolError as error:
                # HTTP/1.0 may name no host, and RFC 9113, 8.3.1, lets that go on.
                if ":authority or Host" not in str(error):
                    self.faults.append(repr(error))
                return
            for event in events:
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = list(event.headers)
                    bodies[event.stream_id] = b""
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    fields = asked.pop(event.stream_id)
                    self._note(dict(fields)[b":path"], bodies.pop(event.stream_id), fields)
                    with contextlib.suppress(StreamClosedError):
                        connection.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)
            sock.sendall(connection.data_to_send())

    def _note(self, target: bytes, body: bytes, fields: Pairs) -> None:
        with self._lock:
            self.requests.append((target, body, [(bytes(name).lower(), bytes(value)) for name, value in fields]))
