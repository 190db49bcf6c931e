"""Asks the kernel who connected a unix socket: the user at the time of connecting, and the control group of that very process.

The process is named by a descriptor of the kernel's (a pidfd), never by its number: none that comes after it can be taken for it.
"""

from __future__ import annotations

import os
import socket
import struct
from fcntl import ioctl
from typing import Final

UNKNOWN: Final = -1
"""A user or control group that the kernel does not say."""

_SO_PEERPIDFD: Final = 77
_GET_INFO: Final = 0xC040FF0B
"""PIDFD_GET_INFO, Linux 6.13: the first 64 octets of its answer, which every kernel that has it gives."""
_WANTS_CGROUP: Final = 4
_WANTS_EXIT: Final = 8
"""What is known of a process that has ended is wanted, too; kernels that know nothing of one say nothing."""
_CREDENTIALS: Final = struct.Struct("=iII")
_INFO: Final = struct.Struct("=QQ48x")
_NOBODY: Final = 0xFFFFFFFF


def peer_uid(sock: socket.socket) -> int:
    """Who connected it, as this user namespace names users; UNKNOWN where nobody did. It stays, whatever that process becomes."""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return UNKNOWN
    uid = int(_CREDENTIALS.unpack(found)[1])
    return UNKNOWN if uid == _NOBODY else uid


def peer_cgroup(sock: socket.socket) -> int:
    """Id in the cgroup2 tree of where the process that connected is now, or was when it ended; UNKNOWN: the kernel does not say."""
    try:
        return ask_cgroup(sock)
    except OSError:
        return UNKNOWN


def ask_cgroup(sock: socket.socket) -> int:
    """The same; raises OSError where the kernel refuses: before 6.5, before 6.13, and before 6.16 of a process that has ended."""
    pidfd = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    answer = bytearray(_INFO.pack(_WANTS_CGROUP | _WANTS_EXIT, 0))
    try:
        ioctl(pidfd, _GET_INFO, answer)
    finally:
        os.close(pidfd)
    mask, cgroup = _INFO.unpack(answer)
    return int(cgroup) if mask & _WANTS_CGROUP else UNKNOWN
