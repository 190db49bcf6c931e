"""The system calls that a service in a pod does without: a small filter, assembled by hand.

It closes what namespaces leave open: nesting user namespaces (and with them every kernel door that asks for a
capability), sockets of families that no network namespace confines (vsock) or of protocols that no redirect sees
(MPTCP) or that load a module of the kernel (SCTP, DCCP), io_uring (which runs calls past a filter), and looking into
other processes.
"""

import ctypes
import errno
import functools
import os
import struct

from tulle.kit.syscalls import libc

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUALS, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
NAMESPACES = 0x7E020000
"""Every CLONE_NEW* flag but NEWTIME, whose bit is part of clone's exit signal; making one needs a capability."""
NEWTIME = 0x80
_X32 = 0x40000000
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
PROTOCOLS = (0, 1, 6, 17, 58)
"""Any, ICMP (the datagrams of `ping`), TCP, UDP, ICMPv6. Not MPTCP, nor what would load a rare module."""

_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "open_tree_attr": 467,
}
"""Numbers that every architecture shares."""

_X86_64 = {
    "ptrace": 101,
    "syslog": 103,
    "pivot_root": 155,
    "chroot": 161,
    "acct": 163,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "kexec_load": 246,
    "lookup_dcookie": 212,
    "modify_ldt": 154,
    "iopl": 172,
    "ioperm": 173,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}

_AARCH64 = {
    "lookup_dcookie": 18,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "quotactl": 60,
    "acct": 89,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}


class _Architecture:
    def __init__(self, audit: int, denied: dict[str, int], *, clone: int, unshare: int, socket: int) -> None:
        self.audit = audit
        self.denied = denied
        self.clone, self.unshare, self.socket = clone, unshare, socket


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, _X86_64, clone=56, unshare=272, socket=41),
    "aarch64": _Architecture(0xC00000B7, _AARCH64, clone=220, unshare=97, socket=198),
}
_CLONE3 = 435


class UnknownArchitecture(OSError):
    """There is no table of system calls for this machine, so nothing can be filtered."""


def confine() -> None:
    """Filters this process and all it starts, for good. Needs no_new_privs.

    What is denied fails with EPERM; clone3, whose flags a filter cannot read, with ENOSYS, on which C libraries
    fall back to clone.
    """
    program = assemble(os.uname().machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    libc("prctl", _PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(header, len(header)), 0, 0)


def denied_calls(machine: str) -> dict[str, int]:
    """Names and numbers of the calls that fail with EPERM whatever their arguments."""
    return {**_architecture(machine).denied, **_EVERYWHERE}


@functools.cache
def assemble(machine: str) -> bytes:
    """The filter as BPF. Raises UnknownArchitecture."""
    arch = _architecture(machine)
    program = [
        _step(_LOAD, _ARCHITECTURE),
        *_unless_equal(arch.audit, _refuse(errno.ENOSYS)),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _refuse(errno.ENOSYS),
    ]
    for number in sorted(denied_calls(machine).values()):
        program += _if_equal(number, [_refuse(errno.EPERM)])
    program += _if_equal(_CLONE3, [_refuse(errno.ENOSYS)])
    program += _if_equal(arch.clone, _refuse_bits(0, NAMESPACES))
    program += _if_equal(arch.unshare, _refuse_bits(0, NAMESPACES | NEWTIME))
    program += _if_equal(arch.socket, _judge_socket())
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def _architecture(machine: str) -> _Architecture:
    if machine not in _ARCHITECTURES:
        known = " and ".join(_ARCHITECTURES)
        raise UnknownArchitecture(errno.ENOSYS, f"no table of system calls for {machine}, only for {known}")
    return _ARCHITECTURES[machine]


def _judge_socket() -> list[bytes]:
    internet = [
        _step(_LOAD, _argument(2)),
        *(one for protocol in PROTOCOLS for one in _if_equal(protocol, [_step(_RETURN, _ALLOW)])),
        _refuse(errno.EPROTONOSUPPORT),
    ]
    netlink = [_step(_LOAD, _argument(2)), *_if_equal(0, [_step(_RETURN, _ALLOW)]), _refuse(errno.EPROTONOSUPPORT)]
    return [
        _step(_LOAD, _argument(0)),
        *_if_equal(_UNIX, [_step(_RETURN, _ALLOW)]),
        *_if_equal(_INET, internet),
        *_if_equal(_INET6, internet),
        *_if_equal(_NETLINK, netlink),
        _refuse(errno.EAFNOSUPPORT),
    ]


def _refuse_bits(argument: int, bits: int) -> list[bytes]:
    return [
        _step(_LOAD, _argument(argument)),
        _step(_HAS_BITS, bits, 0, 1),
        _refuse(errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]


def _if_equal(value: int, body: list[bytes]) -> list[bytes]:
    """Runs a body that ends in a return, when the loaded word is `value`; goes on behind it otherwise."""
    return [_step(_EQUALS, value, 0, len(body)), *body]


def _unless_equal(value: int, instruction: bytes) -> list[bytes]:
    return [_step(_EQUALS, value, 1, 0), instruction]


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _argument(index: int) -> int:
    """Offset of an argument's low word, on the little-endian machines that the tables are for."""
    return _ARGUMENTS + 8 * index


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
