"""When a service is asked whether it is ready, and what its answers come to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tulle.supervisor import words
from tulle.supervisor.readiness import Asking, fault_of
from tulle.wire.plan import Readiness

NO = "port 80: Connection refused"


def asked(asking: Asking, now: float, *faults: str) -> tuple[float, list[tuple[str, ...]]]:
    """Asks whenever it is time and answers with these faults in turn; the time after them, and all that was said."""
    said = []
    for fault in faults:
        wait = asking.wait(now)
        assert wait is not None
        now += wait
        said.append(asking.answered(fault, now))
    return now, said


def test_until_the_first_yes_it_is_asked_often() -> None:
    asking = Asking(Readiness(80), 100.0)

    now, said = asked(asking, 100.0, *[NO] * 5, "")

    assert now < 101.0
    assert said == [()] * 5 + [(words.READY,)]


def test_what_is_not_ready_in_time_is_said_once_and_asked_more_slowly() -> None:
    asking = Asking(Readiness(80, startup_seconds=5.0), 0.0)

    now, said = asked(asking, 0.0, *[NO] * 40)

    assert [one for one in said if one] == [(words.SLOW, NO)]
    assert asking.wait(now) == 2.0


def test_why_it_is_not_ready_in_time_is_said_again_when_it_is_another_reason() -> None:
    asking = Asking(Readiness(80, startup_seconds=5.0), 0.0)

    _, said = asked(asking, 6.0, NO, NO, "port 80: 500", "port 80: 500", "")

    assert said == [(words.SLOW, NO), (), (words.SLOW, "port 80: 500"), (), (words.READY,)]


def test_once_ready_it_is_asked_every_period_at_the_same_moments_as_all_others() -> None:
    first, second = Asking(Readiness(80), 100.0), Asking(Readiness(81), 107.3)
    first.answered("", 100.2)
    second.answered("", 107.4)

    assert (100.2 + (first.wait(100.2) or 0), 107.4 + (second.wait(107.4) or 0)) == (110.0, 110.0)
    first.answered("", 110.001)
    assert first.wait(110.001) == pytest.approx(9.999)


def test_a_single_no_changes_nothing_and_as_many_as_the_threshold_do() -> None:
    asking = Asking(Readiness(80, failure_threshold=3), 0.0)

    _, said = asked(asking, 0.0, "", NO, NO, "", NO, NO, NO)

    assert said == [(words.READY,), (), (), (), (), (), (words.UNREADY, NO)]


def test_what_is_unready_is_asked_at_least_every_two_seconds_and_returns_with_one_yes() -> None:
    asking = Asking(Readiness(80, period_seconds=30.0, failure_threshold=1), 0.0)
    now, _ = asked(asking, 0.0, "", NO)

    assert asking.wait(now) == 2.0
    assert asked(asking, now, NO, "")[1] == [(), (words.READY,)]


def test_a_period_of_zero_asks_never_again() -> None:
    asking = Asking(Readiness(80, period_seconds=0.0), 0.0)
    asking.answered("", 0.0)

    assert asking.wait(1.0) is None


@contextmanager
def answering(octets: bytes, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """A port of the loopback address whose server says this to whoever connects, and hangs up."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((address, 0), family=family) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(octets)

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "GET /up at port {port}: 503"),
        (b"HTTP/1.1 2", "GET /up at port {port}: no HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "GET /up at port {port}: no HTTP"),
        (b"", "GET /up at port {port}: no HTTP"),
    ],
)
def test_an_answer_is_judged_by_its_status(octets: bytes, fault: str) -> None:
    with answering(octets) as port:
        assert fault_of(Readiness(port, "/up")) == fault.format(port=port)


def test_either_loopback_address_will_do() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n", socket.AF_INET6) as port:
        assert fault_of(Readiness(port, "/")) == ""


def test_who_accepts_and_says_nothing_is_not_waited_for_longer_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert fault_of(Readiness(port)) == ""
        assert fault_of(Readiness(port, "/", timeout_seconds=0.05)) == f"GET / at port {port}: no answer in 0.05 s"


def test_nobody_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert fault_of(Readiness(port)) == f"port {port}: Connection refused"
