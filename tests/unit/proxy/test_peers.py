"""Who a caller at a path is, on kernels of the test's: what they do not say makes nobody of whoever could be another."""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import cast

import pytest

from tulle.kit.netlink import open_sock_diag
from tulle.kit.sock_diag import OVERFLOW_UID, SockDiag
from tulle.proxy.arrival import Register
from tulle.proxy.attest import Attestor, Who
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher
from tulle.proxy.peers import Peers

USER, GROUPED, STRANGER, NOBODY = 7, 8, 9, 0xFFFFFFFF


class OldKernel:
    """The end of a connection that this user made, where the kernel knows of no descriptor for a peer's process."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:
        if option == socket.SO_PEERCRED:
            return struct.pack("=iII", 1, self._uid, self._uid)
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


@contextlib.contextmanager
def peers(facts: Facts) -> Iterator[Peers]:
    dispatcher = Dispatcher(print)
    with open_sock_diag() as opened, contextlib.closing(dispatcher.epoll):
        yield Peers(Attestor(dispatcher, Register(), SockDiag(opened), facts, lambda: False))


def attested(facts: Facts, uid: int) -> str:
    found: list[Who] = []
    with peers(facts) as attestor:
        attestor.attest(cast("socket.socket", OldKernel(uid)), lambda _, who: found.append(who))
    (who,) = found
    return who.workload


@pytest.mark.parametrize(("uid", "workload"), [(USER, "a/user"), (GROUPED, ""), (STRANGER, ""), (NOBODY, ""), (0, "")])
def test_only_a_user_whom_no_group_divides_is_known_where_the_group_is_not_said(uid: int, workload: str) -> None:
    facts = Facts(sees_all_users=True)
    facts.tell("a/user", USER, None)
    facts.tell("a/whole", GROUPED, None)
    facts.tell("a/part", GROUPED, [5])
    assert attested(facts, uid) == workload


def test_nobody_is_known_where_the_group_is_not_said_and_one_alone_would_do() -> None:
    facts = Facts(sees_all_users=True)
    facts.tell("a/user", USER, None)
    facts.tell("a/group", -1, [5])
    assert attested(facts, USER) == ""


@pytest.mark.parametrize(("sees_all", "workload"), [(True, "a/user"), (False, "")])
def test_user_without_a_name_here_is_nobody(sees_all: bool, workload: str) -> None:
    facts = Facts(sees_all)
    facts.tell("a/user", OVERFLOW_UID, None)
    assert attested(facts, OVERFLOW_UID) == workload
