"""Network set-up of a fresh network namespace: loopback up, low ports free, one nftables redirect. And a way to ask whose sockets are whose."""

import fcntl
import os
import socket
import struct

from tulle.kit.syscalls import write_setting

_SIOCSIFFLAGS = 0x8914
_IFF_UP, _IFF_RUNNING = 1, 64
_NETLINK_SOCK_DIAG, _NETLINK_NETFILTER = 4, 12
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6
_REQUEST, _ACK, _CREATE = 1, 4, 0x400
_NLMSG_ERROR = 2
_NESTED = 0x8000
_LOCAL_OUT, _PRIORITY_DSTNAT = 3, -100
_REGISTER = 1
_TCP = 6


def bring_loopback_up() -> None:
    """The only interface of a pod."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_RUNNING))


def free_low_ports() -> None:
    """Lets a process without capabilities bind port 80 in this network namespace."""
    write_setting("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")


def redirect_tcp(network: str, port: int) -> None:
    """Sends all TCP that this namespace dials in `network` (`a.b.0.0/16`, whole octets) to 127.0.0.1:`port`.

    Raises OSError with the kernel's errno; ENOENT or EPROTONOSUPPORT mean a kernel without the nftables parts.
    """
    address, _, bits = network.partition("/")
    prefix = socket.inet_aton(address)[: int(bits) // 8]
    table = _attribute(1, b"tulle\0")
    chain = (
        _attribute(1, b"tulle\0")
        + _attribute(3, b"output\0")
        + _nested(4, _attribute(1, _be32(_LOCAL_OUT)) + _attribute(2, struct.pack(">i", _PRIORITY_DSTNAT)))
        + _attribute(7, b"nat\0")
    )
    expressions = (
        _expression("payload", _numbers(_REGISTER, 1, 16, len(prefix)))  # network header, destination address
        + _expression("cmp", _numbers(_REGISTER, 0) + _nested(3, _attribute(1, prefix)))
        + _expression("meta", _numbers(_REGISTER, 16))  # protocol above IP
        + _expression("cmp", _numbers(_REGISTER, 0) + _nested(3, _attribute(1, bytes([_TCP]))))
        + _expression("immediate", _numbers(_REGISTER) + _nested(2, _attribute(1, struct.pack(">H", port))))
        + _expression("redir", _numbers(_REGISTER, _REGISTER))
    )
    rule = _attribute(1, b"tulle\0") + _attribute(2, b"output\0") + _nested(4, expressions)
    batch = (
        _message(_BATCH_BEGIN, 0, 0, b"", family=0, resource=_NFTABLES)
        + _message(_NFTABLES << 8 | _NEWTABLE, _ACK | _CREATE, 1, table)
        + _message(_NFTABLES << 8 | _NEWCHAIN, _ACK | _CREATE, 2, chain)
        + _message(_NFTABLES << 8 | _NEWRULE, _ACK | _CREATE, 3, rule)
        + _message(_BATCH_END, 0, 4, b"", family=0, resource=_NFTABLES)
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as netlink:
        netlink.settimeout(5)
        netlink.bind((0, 0))
        netlink.send(batch)
        _await_acknowledgements(netlink, 3)


def open_sock_diag() -> socket.socket:
    """For `kit.sock_diag`. What it sees is fixed here: this network namespace, uids of this user namespace. It takes no privilege."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
    made.bind((0, 0))
    return made


def _await_acknowledgements(netlink: socket.socket, expected: int) -> None:
    while expected:
        answer = netlink.recv(65536)
        offset = 0
        while offset + 20 <= len(answer):
            length, kind = struct.unpack_from("=IH", answer, offset)
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", answer, offset + 16)[0]
                if number:
                    raise OSError(number, f"nftables: {os.strerror(number)}")
                expected -= 1
            offset += (length + 3) & ~3 or len(answer)


def _message(
    kind: int, flags: int, sequence: int, body: bytes, family: int = socket.AF_INET, resource: int = 0
) -> bytes:
    payload = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, flags | _REQUEST, sequence, 0) + payload


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _numbers(*values: int) -> bytes:
    """Attributes 1, 2, 3 … of an expression, each a 32-bit number."""
    return b"".join(_attribute(kind, _be32(value)) for kind, value in enumerate(values, 1))


def _expression(name: str, body: bytes) -> bytes:
    return _nested(1, _attribute(1, name.encode() + b"\0") + _nested(2, body))


def _be32(value: int) -> bytes:
    return struct.pack(">I", value)
