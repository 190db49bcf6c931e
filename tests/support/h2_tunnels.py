"""Extended CONNECT (RFC 8441) by PyPI `h2`, at either end: each stream is a plain socket to the test, with end, reset and back-pressure."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings

from tests.support.proxy_harness import DEADLINE, dial, until

Headers = dict[str, str]
READ = 65536


class Tunnel:
    """One stream. The test holds `sock`; what it writes becomes DATA, and the other way round."""

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.headers: Headers | None = None
        """What the peer's head said."""
        self.reset_code: int | None = None
        """What the peer's RST_STREAM said."""
        self.sock, self.inner = socket.socketpair()
        self.sock.settimeout(DEADLINE)
        self.inner.setblocking(False)
        self.to_test = b""
        self.to_peer = b""
        self.owed = 0
        """Octets received that are not acknowledged yet."""
        self.peer_done = False
        self.test_done = False
        self.is_ended = False
        """We have sent END_STREAM or RST_STREAM, or need not."""

    @property
    def is_over(self) -> bool:
        """Nothing moves any more in either direction."""
        return self.reset_code is not None or (self.is_ended and self.peer_done and not self.to_test)


class H2Link(threading.Thread):
    """One connection; a thread moves octets between its streams and their sockets."""

    def __init__(self, sock: socket.socket, *, is_client: bool, serves_connect: bool = True) -> None:
        super().__init__(daemon=True)
        self.tunnels: dict[int, Tunnel] = {}
        self.settings: dict[int, int] = {}
        """What the peer announced."""
        self.has_settings = False
        self.goaway: int | None = None
        self.is_closed = False
        self.accept: Callable[[Tunnel, Headers], Headers | None] | None = None
        """Answers a request; None: it will not be."""
        self._sock = sock
        self._conn = H2Connection(H2Configuration(client_side=is_client, header_encoding="utf-8"))
        if serves_connect and not is_client:
            self._conn.local_settings = Settings(client=False, initial_values={SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self._lock = threading.RLock()
        self._awake, self._waker = socket.socketpair()
        self._conn.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Breaks the connection off."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self.is_alive():
            self.join(DEADLINE)
        self._waker.close()
        for tunnel in self.tunnels.values():
            tunnel.sock.close()

    def open(self, protocol: str = "websocket", path: str = "/chat", **more: str) -> Tunnel:
        """A stream that asks for another protocol; its answer is not waited for."""
        until(lambda: self.has_settings, "SETTINGS")
        fields = {":method": "CONNECT", ":protocol": protocol, ":scheme": "http", ":path": path, ":authority": "orders"}
        return self.ask(fields | {"sec-websocket-version": "13"} | more)

    def ask(self, fields: Headers, *, ends: bool = False) -> Tunnel:
        """A stream with this head."""
        with self._lock:
            stream_id = self._conn.get_next_available_stream_id()
            tunnel = self.tunnels[stream_id] = Tunnel(stream_id)
            self._conn.send_headers(stream_id, list(fields.items()), end_stream=ends)
            self._flush()
        self._waker.send(b"x")
        return tunnel

    def answered(self, tunnel: Tunnel) -> Headers:
        """Waits for the answer's head."""
        until(lambda: tunnel.headers is not None or tunnel.is_over or self.is_closed, "an answer")
        assert tunnel.headers is not None, f"reset: {tunnel.reset_code}"
        return tunnel.headers

    def reset(self, tunnel: Tunnel) -> None:
        """Ends the stream before its time."""
        with self._lock:
            self._conn.reset_stream(tunnel.id, ErrorCodes.CANCEL)
            self._flush()
            tunnel.is_ended = True
            tunnel.reset_code = int(ErrorCodes.CANCEL)

    def run(self) -> None:
        """Until the connection ends."""
        try:
            while self._turn():
                pass
        except (OSError, ValueError):
            pass
        self.is_closed = True
        for tunnel in self.tunnels.values():
            tunnel.inner.close()
        self._sock.close()
        self._awake.close()

    def _turn(self) -> bool:
        with self._lock:
            live = [one for one in self.tunnels.values() if not one.is_over]
            readable = [one.inner for one in live if not one.test_done and len(one.to_peer) < READ]
            writable = [one.inner for one in live if one.to_test]
        ready, roomy = wait([self._sock, self._awake, *readable], writable)
        with self._lock:
            if self._awake in ready:
                self._awake.recv(READ)
            if self._sock in ready:
                octets = self._sock.recv(READ)
                if not octets:
                    return False
                for event in self._conn.receive_data(octets):
                    self._take(event)
            for one in live:
                if one.inner in ready:
                    self._read(one)
                if one.inner in roomy:
                    self._write(one)
                self._send(one)
            self._flush()
        return True

    def _take(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            self.settings.update({int(code): one.new_value for code, one in event.changed_settings.items()})
            self.has_settings = True
        elif isinstance(event, RequestReceived):
            tunnel = self.tunnels[event.stream_id] = Tunnel(event.stream_id)
            fields = tunnel.headers = dict(_texts(event.headers))
            answer = self.accept(tunnel, fields) if self.accept is not None else None
            if answer is not None:
                self._conn.send_headers(
                    tunnel.id, list(answer.items()), end_stream=not answer[":status"].startswith("2")
                )
        elif isinstance(event, ResponseReceived):
            self.tunnels[event.stream_id].headers = dict(_texts(event.headers))
        elif isinstance(event, DataReceived):
            tunnel = self.tunnels[event.stream_id]
            tunnel.to_test += event.data
            tunnel.owed += event.flow_controlled_length
            self._write(tunnel)
        elif isinstance(event, StreamEnded):
            tunnel = self.tunnels[event.stream_id]
            tunnel.peer_done = True
            self._write(tunnel)
        elif isinstance(event, StreamReset):
            tunnel = self.tunnels[event.stream_id]
            tunnel.reset_code = int(event.error_code)
            tunnel.inner.close()
        elif isinstance(event, ConnectionTerminated):
            self.goaway = int(event.error_code or 0)

    def _read(self, one: Tunnel) -> None:
        try:
            octets = one.inner.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        one.to_peer += octets
        one.test_done = not octets

    def _write(self, one: Tunnel) -> None:
        with contextlib.suppress(OSError):
            sent = one.inner.send(one.to_test) if one.to_test else 0
            one.to_test = one.to_test[sent:]
        if one.to_test or one.reset_code is not None:
            return
        if one.owed:
            self._conn.acknowledge_received_data(one.owed, one.id)
            one.owed = 0
        if one.peer_done:
            with contextlib.suppress(OSError):
                one.inner.shutdown(socket.SHUT_WR)

    def _send(self, one: Tunnel) -> None:
        if one.is_ended or one.reset_code is not None:
            return
        while one.to_peer:
            room = min(self._conn.local_flow_control_window(one.id), self._conn.max_outbound_frame_size)
            if room <= 0:
                return
            self._conn.send_data(one.id, one.to_peer[:room])
            one.to_peer = one.to_peer[room:]
        if one.test_done:
            self._conn.end_stream(one.id)
            self._flush()
            one.is_ended = True  # whoever waits for that may break the connection off at once

    def _flush(self) -> None:
        if octets := self._conn.data_to_send():
            self._sock.sendall(octets)


def wait(reads: list[socket.socket], writes: list[socket.socket]) -> tuple[list[socket.socket], list[socket.socket]]:
    """Those that can be read, and those that can be written; descriptors of any number, unlike `select.select`."""
    poller = select.poll()
    masks: dict[int, int] = {}
    for one in reads:
        masks[one.fileno()] = select.POLLIN
    for one in writes:
        masks[one.fileno()] = masks.get(one.fileno(), 0) | select.POLLOUT
    for fd, mask in masks.items():
        poller.register(fd, mask)
    found = dict(poller.poll(DEADLINE * 1000))
    gone = select.POLLHUP | select.POLLERR
    ready = [one for one in reads if found.get(one.fileno(), 0) & (select.POLLIN | gone)]
    return ready, [one for one in writes if found.get(one.fileno(), 0) & (select.POLLOUT | gone)]


def _texts(headers: object) -> list[tuple[str, str]]:
    assert isinstance(headers, list)
    return [(str(name), str(value)) for name, value in headers]


def dial_h2(port: int) -> H2Link:
    """A caller's connection to a door."""
    link = H2Link(dial(port), is_client=True)
    link.start()
    return link


class H2Endpoint:
    """A server for `Backends.serve`: each extended CONNECT it takes is handled by a function in a thread of its own."""

    def __init__(
        self, handle: Callable[[socket.socket], None], *, serves_connect: bool = True, status: str = "200"
    ) -> None:
        self.requests: list[Headers] = []
        self.links: list[H2Link] = []
        self._handle = handle
        self._serves_connect = serves_connect
        self._status = status

    def __call__(self, sock: socket.socket) -> None:
        link = H2Link(sock, is_client=False, serves_connect=self._serves_connect)
        link.accept = self._accept
        self.links.append(link)
        link.run()
        link.close()

    def _accept(self, tunnel: Tunnel, fields: Headers) -> Headers:
        self.requests.append(fields)
        if self._status == "200" and ":protocol" in fields:
            threading.Thread(target=self._serve, args=(tunnel.sock,), daemon=True).start()
            return {":status": "200", "x-endpoint": "h2"}
        return {":status": self._status if ":protocol" in fields else "418"}

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._handle(sock)
