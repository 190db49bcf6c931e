"""Opens what CONNECT asks for: connections that are served as if their callers had dialled the service's address."""

from __future__ import annotations

import socket
from typing import final

from tulle.core.tables import ServicePortTable
from tulle.proxy.arrival import Connection, Register
from tulle.proxy.detect import Detector
from tulle.proxy.lane import Arrival
from tulle.proxy.relay import Relay
from tulle.proxy.stream import Asker, Passages, Speaker
from tulle.proxy.tcp import Dial
from tulle.proxy.wire import Wire


@final
class ToServices(Passages):
    """Hands connections to a detector, with the very lane that those by address have: no octet is judged otherwise."""

    def __init__(self, relay: Relay, register: Register, dial: Dial) -> None:
        self._relay = relay
        self._register = register
        self._dial = dial

    def lead_on(self, connection: Connection, port: ServicePortTable, wire: Wire, octets: bytes, asker: Asker) -> None:
        connection.lead_on(connection.arrival.to(port.address, port.port))
        self._detector(connection).take_over(wire, octets, asker)

    def is_full(self, arrival: Arrival) -> bool:
        return self._register.limit_of(arrival, self._relay.limits) != ""

    def open(self, arrival: Arrival, port: ServicePortTable, far: socket.socket, asker: Asker) -> Speaker:
        relay = self._relay
        connection = self._register.add(arrival.to(port.address, port.port), relay.dispatcher.now)
        detector = self._detector(connection)
        detector.attend(far, asker)
        return detector

    def _detector(self, connection: Connection) -> Detector:
        relay = self._relay
        return Detector(relay, connection, relay.lane(connection.arrival), self._dial)
