"""What the proxy is told of survives what becomes of it meanwhile, and takes no descriptor to tell."""

import contextlib
import json
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from tulle.supervisor.handover import Line, ProxyLink
from tulle.supervisor.loop import Callback, Loop
from tulle.wire.plan import Handover


class Still(Loop):
    """A loop that waits for nothing."""

    def __init__(self) -> None:
        self.readers: dict[int, Callback] = {}
        self.writers: dict[int, Callback] = {}

    def read(self, descriptor: int, callback: Callback) -> None:
        self.readers[descriptor] = callback

    def write(self, descriptor: int, callback: Callback | None) -> None:
        self.writers = {} if callback is None else {descriptor: callback}

    def forget(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)
        self.writers.pop(descriptor, None)


@contextlib.contextmanager
def connected(line: Line, loop: Still) -> Iterator[socket.socket]:
    """The proxy's end; afterwards it has ended, and the link has heard of it."""
    with line.connect() as proxy:
        yield proxy
    for callback in list(loop.readers.values()):
        callback()


def test_telling_takes_no_descriptor() -> None:
    loop = Still()
    link = ProxyLink(loop)
    line = link.line(unheard)
    with connected(line, loop) as proxy, socket.create_server(("127.0.0.1", 0)) as listener:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            link.door(80, listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

        assert heard(proxy) == {"kind": "synced", "name": ""}
        assert heard(proxy) == {"kind": "door", "name": "80"}


@pytest.mark.parametrize("is_read", [True, False], ids=["the proxy reads on", "another proxy comes"])
def test_a_listener_let_go_while_its_news_waits_is_closed_afterwards(is_read: bool) -> None:
    loop = Still()
    link = ProxyLink(loop)
    line = link.line(unheard)
    with connected(line, loop) as proxy:
        while not loop.writers:  # until the proxy's end is full
            link.broker_forked_again()
        listener = socket.create_server(("127.0.0.1", 0))
        link.door(80, listener)
        link.gone("80")
        assert listener.fileno() >= 0, "closed before the proxy was told"

        if is_read:
            kinds = [""]
            while kinds[-1] != "gone":
                kinds.append(heard(proxy)["kind"])
                for callback in list(loop.writers.values()):
                    callback()
            assert kinds[-2:] == ["door", "gone"]
        else:
            line.connect().close()

        assert listener.fileno() == -1


def test_two_proxies_are_told_the_same_and_what_is_let_go_waits_for_both() -> None:
    loop = Still()
    link = ProxyLink(loop)
    first, second = link.line(unheard), link.line(unheard)
    with first.connect() as one, second.connect() as other:
        while not loop.writers:  # until the second one's end is full
            second.tell("broker", "")
        listener = socket.create_server(("127.0.0.1", 0))
        link.door(80, listener)
        link.gone("80")

        assert [heard(one)["kind"] for _ in range(3)] == ["synced", "door", "gone"]
        assert listener.fileno() >= 0, "closed before the second proxy was told"

        kinds = [""]
        while kinds[-1] != "gone":
            kinds.append(heard(other)["kind"])
            for callback in list(loop.writers.values()):
                callback()
        assert kinds[-2:] == ["door", "gone"]
        assert listener.fileno() == -1
    first.disconnect()
    second.disconnect()


def test_what_is_given_to_a_proxy_is_not_kept_here() -> None:
    loop = Still()
    line = ProxyLink(loop).line(unheard)
    ours, theirs = socket.socketpair()
    with ours, connected(line, loop) as proxy:
        line.tell("retire", "3", theirs, gives=True)

        assert theirs.fileno() == -1
        assert [heard(proxy)["kind"] for _ in range(2)] == ["synced", "retire"]
    left, right = socket.socketpair()
    with left:
        line.tell("retire", "3", right, gives=True)
        assert right.fileno() == -1, "kept although no proxy is there"


def test_a_word_that_is_not_understood_is_left() -> None:
    loop = Still()
    said: list[Handover] = []
    line = ProxyLink(loop).line(said.append)
    with connected(line, loop) as proxy:
        for word in (b"\xff", b"[]", b'{"kind": "serving"}', b'{"kind": "serving", "name": "0.2", "more": 1}'):
            proxy.send(word)
            for callback in list(loop.readers.values()):
                callback()

    assert said == [Handover("serving", "0.2")]


def unheard(said: Handover) -> None:
    """Nothing is expected of this proxy."""
    raise AssertionError(said)


def heard(proxy: socket.socket) -> dict[str, str]:
    """The next fact, without its descriptor."""
    message, received, _, _ = socket.recv_fds(proxy, 4096, 1)
    for one in received:
        os.close(one)
    fact: dict[str, str] = json.loads(message)
    return fact
