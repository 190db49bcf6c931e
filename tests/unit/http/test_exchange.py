"""A client's side of one request, without a socket."""

from __future__ import annotations

import pytest

from tulle.http.exchange import Exchange, Lines, Reply, ResponseError


def test_answer_is_read_in_any_pieces() -> None:
    wire = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    for size in (1, 7, len(wire)):
        exchange = Exchange("GET", "/a")
        body = b"".join(exchange.feed(wire[at : at + size]) for at in range(0, len(wire), size))

        assert exchange.is_done
        assert exchange.reply(body) == Reply(200, b"abc", "text/x")


def test_request_is_framed() -> None:
    assert Exchange("GET", "/a?b").request == b"GET /a?b HTTP/1.1\r\nhost: tulle\r\nconnection: close\r\n\r\n"
    assert Exchange("PUT", "/", b"{}").request.endswith(
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize("target", ["a", "/a b", "/\r\nx: 1", "/ä", ""])
def test_target_that_would_break_the_head_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="target"):
        Exchange("GET", target)


@pytest.mark.parametrize(
    "wire", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", b"SSH-2.0\r\n\r\n"]
)
def test_answer_cut_short_is_no_answer(wire: bytes) -> None:
    exchange = Exchange("GET", "/")

    with pytest.raises(ResponseError):
        for piece in (wire, b""):
            exchange.feed(piece)


def test_lines_are_whole_wherever_pieces_are_cut() -> None:
    lines = Lines()

    assert [lines.feed(b"a"), lines.feed(b"b\nc\n\nd"), lines.rest()] == [[], [b"ab", b"c", b""], [b"d"]]
