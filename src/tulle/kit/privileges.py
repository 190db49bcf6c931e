"""Gives up what a process does not need, for good."""

import ctypes
import os
import signal
import struct
from collections.abc import Iterable

from tulle.kit.syscalls import libc

CAP_DAC_READ_SEARCH = 2
CAP_KILL = 5
CAP_SYS_ADMIN = 21

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63


def drop(uid: int | None = None, gid: int | None = None, groups: Iterable[int] = ()) -> None:
    """Leaves the process without a capability, without a way to gain one, and, where given, as another user.

    Changing the user makes the kernel forget the parent-death signal, so one that was set is set again.
    """
    death = _parent_death_signal()
    parent = os.getppid()
    bound_capabilities(())
    if gid is not None or uid is not None:
        os.setgroups(list(groups))
    if gid is not None:
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    hold_capabilities(())
    refuse_new_privileges()
    if death:
        die_with(parent, death)


def bound_capabilities(keep: Iterable[int]) -> None:
    """Takes all but `keep` out of the bounding and ambient sets: no program executed later can gain them."""
    kept = frozenset(keep)
    libc("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_LAST_CAPABILITY + 1):
        if capability in kept:
            continue
        try:
            libc("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
        except PermissionError:
            return  # no CAP_SETPCAP: the set below and no_new_privs suffice
        except OSError:
            return  # the kernel knows no capability of this number


def hold_capabilities(keep: Iterable[int]) -> None:
    """Leaves exactly `keep` permitted and effective, of this process."""
    bits = sum(1 << one for one in keep)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = struct.pack("=6I", low, low, 0, high, high, 0)
    libc("capset", ctypes.create_string_buffer(header), ctypes.create_string_buffer(sets))


def refuse_new_privileges() -> None:
    """No set-user-id or file capability takes effect in this process and what it starts."""
    libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Has the kernel send `number` to this process when `parent` ends; ends now if it has ended already."""
    libc("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def hide_memory() -> None:
    """Closes /proc/PID/mem, environ and ptrace of this process to others of the same user, until it executes."""
    libc("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent ends."""
    libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parent_death_signal() -> int:
    number = ctypes.create_string_buffer(4)
    libc("prctl", _PR_GET_PDEATHSIG, number, 0, 0, 0)
    return int(struct.unpack("=i", number.raw)[0])
