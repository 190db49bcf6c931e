"""Ports of this box for programs that are about to be started."""

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LEAST: Final = 20_000
"""Below are those that programs have by custom."""
GIVEN_BY_KERNEL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody has, on no address of either family; never the same twice.

    The kernel gives none of these to who leaves the choice to it, a caller or a listener, so it is free until somebody asks for just this one.
    """
    return next(_unused)


def below(least_of_kernel: int) -> range:
    """Where to look. Where the kernel gives even these, they are as good as any."""
    return range(LEAST, least_of_kernel) or range(LEAST, 1 << 15)


def _free() -> Iterator[int]:
    ports = below(int(GIVEN_BY_KERNEL.read_text().split()[0]))
    for port in secrets.SystemRandom().sample(ports, len(ports)):
        if _is_free(port):
            yield port


def _is_free(port: int) -> bool:
    family, anywhere = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")  # noqa: S104
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((anywhere, port))
        except OSError:
            return False
        return True


_unused: Final = _free()
