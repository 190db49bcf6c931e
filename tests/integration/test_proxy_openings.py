"""Heads that begin alike are read the short way and still judged each for itself."""

from tests.support.proxy_harness import Backends, Client, Proxy, echo, field, host, one_service, only
from tulle.wire.snapshot import Protocol

OPENING = (
    b"Host: orders\r\nUser-Agent: a browser with a long name, as they all have, and then some\r\n"
    b"Accept: */*\r\nX-Secret: 1\r\n"
)


def ask(client: Client, line: bytes, number: int, *more: bytes) -> tuple[int, bytes, bytes]:
    own = b"".join(one + b"\r\n" for one in (b"X-Trace: %d" % number, *more))
    client.send(line + b" HTTP/1.1\r\n" + OPENING + own + b"\r\n")
    return client.read()


def test_requests_that_begin_alike_are_judged_each(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoint = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoint, policies=(only("GET", paths=("/open/*",)),)))
    with Client(door) as client:
        answers = [
            [ask(client, line, number)[0] for line in (b"GET /open/%d" % number, b"GET /shut", b"POST /open/a")]
            for number in range(40)
        ]
        assert answers == [[200, 403, 403]] * 40
        proxy.put(one_service({door: Protocol.HTTP}, endpoint, policies=(only("GET", paths=("/shut",)),), generation=2))
        assert [ask(client, line, 41)[0] for line in (b"GET /open/1", b"GET /shut")] == [403, 200]


def test_what_follows_a_known_beginning_decides_as_ever(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as client:
        for number in range(40):
            sent = ask(client, b"GET /%d?q" % number, number)[2]
            assert sent.startswith(b"GET /%d?q HTTP/1.1\r\nhost: orders\r\nUser-Agent: " % number)
            assert (field(sent, "x-secret"), field(sent, "x-trace")) == ("1", str(number))
            named = ask(client, b"GET /", number, b"Connection: x-secret", b"X-Request-Id: mine-%d" % number)[2]
            assert (field(named, "x-secret"), field(named, "x-request-id")) == (None, f"mine-{number}")
        assert ask(client, b"GET /", 41, b"Host: other")[0] == 400


def test_pipelined_requests_that_begin_alike_are_answered_in_order(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    heads = [
        b"POST /%d HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (number, OPENING, number % 3, b"\r\n"[: number % 3])
        for number in range(200)
    ]
    with Client(door) as client:
        client.send(b"".join(heads))
        for number in range(200):
            sent = client.read()[2]
            assert sent.startswith(b"POST /%d " % number)
            assert sent.endswith(b"\r\n\r\n" + b"\r\n"[: number % 3])
