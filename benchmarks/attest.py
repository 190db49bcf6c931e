"""Microseconds of CPU for attesting a connection of the box itself: `python -m benchmarks.attest`.

With 10, 1 000 and 10 000 TCP sockets open beside it. Each figure is the best of many rounds, since only disturbance makes it larger.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tulle.kit import sock_diag
from tulle.kit.netlink import open_sock_diag
from tulle.kit.sock_diag import SockDiag, place_of
from tulle.proxy.arrival import Register
from tulle.proxy.attest import Attestor, Who, is_alive
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher

SOCKETS = (10, 1_000, 10_000)
TIMES = 200
ROUNDS = 60
WORKLOAD = "default/web"


def main() -> None:
    """Prints the table."""
    print(f"attestation: {'interpreted' if str(sock_diag.__file__).endswith('.py') else 'compiled'}")
    print(f"{'open sockets':>12}  {'caller':>7}  {'look-up alone':>13}  {'endpoint':>8}")
    for number in SOCKETS:
        with open_sockets(number), open_sock_diag() as netlink:
            caller, look_up, endpoint = figures(SockDiag(netlink))
        print(f"{number:12,}  {caller:7.2f}  {look_up:13.2f}  {endpoint:8.2f}")


def figures(diag: SockDiag) -> tuple[float, float, float]:
    """Of a caller, of one look-up, and of an endpoint: its listener and its peer."""
    dispatcher = Dispatcher(print)
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = opened.enter_context(socket.create_connection(listener.getsockname()))
        accepted, peer = listener.accept()
        opened.enter_context(accepted)
        opened.callback(dispatcher.epoll.close)
        host, port = listener.getsockname()
        own_host, own_port = client.getsockname()
        ours = place_of(host, port)
        facts = Facts(sees_all_users=True)
        owner = diag.connection(place_of(peer[0], peer[1]), ours)
        if owner is None:
            raise SystemExit("error: the kernel does not say whose sockets are whose")
        facts.tell(WORKLOAD, owner.uid, [owner.cgroup])
        attestor = Attestor(dispatcher, Register(), diag, facts, lambda: False)

        def welcome(_: socket.socket, who: Who) -> None:
            if who.workload != WORKLOAD:
                raise SystemExit("error: it was not recognised")

        def caller() -> None:
            attestor.attest(accepted, place_of(peer[0], peer[1]), ours, welcome)

        def look_up() -> None:
            diag.connection(ours, ours)  # nobody's

        def endpoint() -> None:
            place = place_of(host, port)
            listens = diag.listener(place)
            takes = diag.connection(place, place_of(own_host, own_port))
            if listens is None or takes is None or not is_alive(client):
                raise SystemExit("error: nobody is there")
            facts.recognise(listens.uid, listens.cgroup)
            facts.recognise(takes.uid, takes.cgroup)

        return best(caller), best(look_up), best(endpoint)


def best(measured: Callable[[], None]) -> float:
    """Microseconds of CPU of one call."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            measured()
        least = min(least, time.process_time() - began)
    return least / TIMES * 1e6


@contextmanager
def open_sockets(number: int) -> Iterator[None]:
    """So many TCP sockets, connected in pairs."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        for _ in range(number // 2):
            opened.enter_context(socket.create_connection(listener.getsockname()))
            opened.enter_context(listener.accept()[0])
        yield


if __name__ == "__main__":
    main()
