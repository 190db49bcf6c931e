"""Attests who is at the other end of a unix socket: the kernel noted it when the connection was made, so nothing can come in between.

The user is that of connecting. The control group is asked for when the connection is accepted; where the kernel does not say it,
whoever could be a workload of some control group is nobody.
"""

from __future__ import annotations

import socket
from typing import final

from tulle.kit.unix_peer import peer_cgroup, peer_uid
from tulle.proxy.attest import NOBODY, Attestor, Parked, Welcome, Who


@final
class Peers:
    """Says whose connections by path are."""

    def __init__(self, attestor: Attestor) -> None:
        self._attestor = attestor

    def attest(self, sock: socket.socket, welcome: Welcome) -> None:
        """Calls `welcome` with who is at the other end; perhaps before it returns, at the latest when a look is overdue."""
        uid, cgroup = peer_uid(sock), peer_cgroup(sock)
        facts = self._attestor.facts
        if uid < 0:
            welcome(sock, NOBODY)
        elif not facts.is_doubtful(uid, cgroup):
            welcome(sock, Who(facts.recognise(uid, cgroup), uid, cgroup))
        elif not self._attestor.wait(Parked(self._attestor, sock, welcome), uid, cgroup):
            welcome(sock, Who("", uid, cgroup))
