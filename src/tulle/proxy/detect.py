"""Which protocol a connection speaks, by its first octets or its silence."""

from __future__ import annotations

import socket
from typing import Final, final

from tulle.http.h2.frames import PREFACE
from tulle.proxy.arrival import Connection
from tulle.proxy.downstream import HttpDownstream
from tulle.proxy.http2_downstream import Http2Downstream
from tulle.proxy.lane import Lane
from tulle.proxy.relay import Relay
from tulle.proxy.stream import Asker, Speaker
from tulle.proxy.tcp import Dial, Tunnel
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

METHODS: Final = (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"PATCH", b"OPTIONS", b"TRACE")
STARTS: Final = (b"CONNECT ", *(method + b" " + first for method in METHODS for first in (b"/", b"*", b"http")))
MAX_FIRST_LINE: Final = 2048
"""Octets of a first line that may still turn out to be a request line of a method not listed above."""
UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

HTTP2: Final = 2
HTTP: Final = 1
OPAQUE: Final = 0
UNDECIDED: Final = -1


def guess_protocol(octets: bytes) -> int:
    """HTTP2, HTTP, OPAQUE or UNDECIDED."""
    if octets.startswith(PREFACE) or PREFACE.startswith(octets):
        return HTTP2 if len(octets) >= len(PREFACE) else UNDECIDED
    if octets.startswith(STARTS):
        return HTTP
    line, ended, _ = octets.partition(b"\n")
    method, spaced, rest = line.partition(b" ")
    if not method or method.translate(None, UPPER) or len(method) > 24:
        return OPAQUE
    if ended:
        return HTTP if b" HTTP/1." in rest else OPAQUE
    if not spaced:
        return UNDECIDED
    return OPAQUE if len(line) > MAX_FIRST_LINE or method == b"PRI" else UNDECIDED


@final
class Detector(Speaker):
    """Waits for a connection's first octets, then hands it to who speaks its protocol."""

    wire: Wire
    """What is detected on; set when it begins."""

    def __init__(self, relay: Relay, connection: Connection, lane: Lane, dial: Dial) -> None:
        super().__init__()
        self._relay = relay
        self._connection = connection
        self._lane = lane
        self._dial = dial
        self._asker: Asker | None = None
        """Who waits for the answer to CONNECT."""
        self._octets = b""
        port = lane.port
        self._is_http = lane.is_forward or (port is not None and port.protocol in (Protocol.HTTP, Protocol.HTTP2))
        """The port says so: no other protocol is guessed."""
        self.deadline = relay.dispatcher.now + relay.detect_timeout

    def on_octets(self, octets: bytes) -> None:
        if not self._octets:
            self.deadline = self._relay.dispatcher.now + self._relay.head_timeout
        self._octets += octets
        guess = guess_protocol(self._octets)
        if guess == HTTP2:
            self._speak_http2()
        elif guess == HTTP or (self._is_http and not PREFACE.startswith(self._octets)):
            self._speak_http()
        elif guess == OPAQUE:
            self._speak_opaque()

    def on_end(self) -> None:
        if not self._octets:
            self._close()
        elif self._is_http:
            self._speak_http().on_end()
        else:
            self._speak_opaque()

    def on_lost(self) -> None:
        if self._octets and self._is_http:
            self._speak_http().on_lost()
        else:
            self._close()

    def on_defect(self) -> None:
        self._close()

    def on_drained(self) -> None:
        pass

    def on_deadline(self, now: float) -> None:
        if self._octets and self._is_http:
            self._speak_http()
        elif self._is_http:
            self._close()
        else:
            self._speak_opaque()

    def close_when_idle(self) -> None:
        if not self._octets:
            self._close()

    def cut(self, reason: Reason) -> None:
        self._close()

    def renew(self) -> None:
        self._look_again()

    def start(self, sock: socket.socket) -> None:
        """Begins with a connection that was accepted. Raises OSError where the kernel watches no more; it is closed then."""
        self._listen(sock)
        self._begin()

    def attend(self, sock: socket.socket, asker: Asker) -> None:
        """Has a connection; begins with `on_turn`, once whoever waits knows of its other end."""
        self._asker = asker
        self._listen(sock)

    def on_turn(self) -> None:
        self._begin()

    def take_over(self, wire: Wire, octets: bytes, asker: Asker) -> None:
        """Begins with one that somebody else spoke on, and what was read of it already."""
        self._asker = asker
        self.wire = wire
        wire.pass_to(self)
        port = self._lane.port
        if port is not None and port.protocol is Protocol.TCP:
            self._octets = octets
            self._begin()
        else:
            self._begin()
            if octets:
                self.on_octets(octets)

    def _listen(self, sock: socket.socket) -> None:
        self.wire = Wire(self._relay.dispatcher, sock, self)
        try:
            self.wire.start()
        except OSError:
            self._close()
            raise

    def _begin(self) -> None:
        """As the port says, or by waiting for octets."""
        port = self._lane.port
        asker = self._asker
        if asker is not None and (port is None or port.protocol is not Protocol.TCP):
            self._asker = None
            asker.established()
        if self._is_http:
            self._connection.speaker = self
            self.deadline = self._relay.dispatcher.now + self._relay.idle_timeout
        elif port is not None and port.protocol is Protocol.TCP:
            self._speak_opaque()
        else:
            self._relay.dispatcher.soon(self, self.deadline)

    def _speak_http(self) -> HttpDownstream:
        self.deadline = NEVER
        self._look_again()
        self._connection.become(self._lane, "http", self._relay.counters)
        speaker = HttpDownstream(self._relay, self._connection, self._lane, self.wire)
        self._connection.speaker = speaker
        self.wire.pass_to(speaker)
        if self._octets:
            speaker.on_octets(self._octets)
        return speaker

    def _speak_http2(self) -> None:
        self.deadline = NEVER
        self._look_again()
        self._connection.become(self._lane, "http2", self._relay.counters)
        speaker = Http2Downstream(self._relay, self._connection, self._lane, self.wire)
        self._connection.speaker = speaker.link
        speaker.link.on_octets(self._octets)

    def _speak_opaque(self) -> None:
        self.deadline = NEVER
        self._look_again()
        self._connection.become(self._lane, "tcp", self._relay.counters)
        Tunnel(self._relay, self._connection, self._lane, self.wire, self._octets, self._dial, self._asker).begin()

    def _look_again(self) -> None:
        """A snapshot may have come since this connection was accepted, or its caller turned out to be nobody."""
        arrival = self._connection.arrival
        if self._lane.tables is not self._relay.tables or self._lane.caller.pod != arrival.pod:
            self._lane = self._relay.lane(arrival)

    def _close(self) -> None:
        self.deadline = NEVER
        self._connection.closed()
        self.wire.close()
