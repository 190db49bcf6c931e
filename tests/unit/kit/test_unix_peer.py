"""What the kernel says of who connected a unix socket."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tulle.kit.unix_peer import UNKNOWN, peer_cgroup, peer_uid


def test_both_ends_of_a_pair_are_its_makers() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert peer_uid(near) == os.getuid()
        assert peer_cgroup(near) > 0
        assert peer_cgroup(near) == peer_cgroup(far)


def test_no_descriptor_is_left() -> None:
    near, far = socket.socketpair()
    with near, far:
        before = descriptors()
        for _ in range(8):
            peer_cgroup(near)
        assert descriptors() == before


def test_nobody_has_connected_what_is_no_connection() -> None:
    with socket.socket(socket.AF_UNIX) as alone:
        assert (peer_uid(alone), peer_cgroup(alone)) == (UNKNOWN, UNKNOWN)


def descriptors() -> list[str]:
    return sorted(one.name for one in Path("/proc/self/fd").iterdir())


class OldKernel:
    """A socket whose kernel knows no descriptor of a process, or one that says nothing."""

    def __init__(self, pidfd: Callable[[], int]) -> None:
        self._pidfd = pidfd

    def getsockopt(self, level: int, option: int) -> int:
        return self._pidfd()


def refuse() -> int:
    raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


@pytest.mark.parametrize(
    "pidfd", [refuse, lambda: os.open("/dev/null", os.O_RDONLY)], ids=["before 6.5", "before 6.13"]
)
def test_kernel_that_says_no_group_is_not_believed_to_have_said_one(pidfd: Callable[[], int]) -> None:
    before = descriptors()
    assert peer_cgroup(cast("socket.socket", OldKernel(pidfd))) == UNKNOWN
    assert descriptors() == before
