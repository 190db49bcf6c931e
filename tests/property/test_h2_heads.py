"""Laws of judging heads: HTTP/2 and HTTP/1.1 give the same judgement, and nothing is smuggled from one to the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.bridging import Pairs, heads
from tests.support.h1_reading import read_requests
from tests.support.h2_wire import fields, request_heads
from tulle.http.h1 import Limits, Refusal, RequestHead, ResponseHead, parse_request, parse_response, write_request
from tulle.http.h2.field import FieldStore
from tulle.http.h2.heads import judge_request, judge_response, judge_trailers
from tulle.http.h2.sending import request_fields, response_fields, trailer_fields
from tulle.http.write import write_response

LIMITS = Limits()


def judged(pairs: Pairs, done: bool = True) -> RequestHead | Refusal:
    store = FieldStore()
    return judge_request([store.field(*pair) for pair in pairs], done, LIMITS, True)


@given(request_heads())
def test_both_protocols_give_the_same_judgement(pairs: Pairs) -> None:
    pseudo = dict(pairs[:4])
    lines = [b"%b %b HTTP/1.1" % (pseudo[b":method"], pseudo[b":path"]), b"host: " + pseudo[b":authority"]]
    crumbs = [value for name, value in pairs if name == b"cookie"]
    lines += [name + b": " + value for name, value in pairs[4:] if name != b"cookie"]
    if crumbs:
        lines.append(b"cookie: " + b"; ".join(filter(None, crumbs)))

    first = parse_request(b"\r\n".join(lines) + b"\r\n\r\n", LIMITS)
    second = judged(pairs)

    assert isinstance(first, RequestHead)
    assert isinstance(second, RequestHead)
    for attribute in ("method", "target", "path", "query", "host", "port", "authority", "fields", "forward", "framing"):
        assert getattr(second, attribute) == getattr(first, attribute), attribute
    assert write_request(second) == write_request(first)


@given(heads, st.booleans())
def test_what_goes_on_as_http_1_is_one_request_that_reads_alike(pairs: Pairs, done: bool) -> None:
    head = judged(pairs, done)
    if isinstance(head, Refusal) or head.method == "CONNECT":
        return
    length = max(head.content_length, 0)
    body = b"" if done else b"0\r\n\r\n" if head.framing == 2 else b"a" * length

    reading = read_requests([write_request(head) + body])

    assert reading.answers == (200,), reading.refusal
    read = reading.messages[0].head
    assert (read.method, read.target, read.authority) == (head.method, head.target, head.authority)
    assert read.forward == head.forward


@given(heads, st.booleans())
def test_what_goes_on_as_http_2_is_judged_alike(pairs: Pairs, done: bool) -> None:
    head = judged(pairs, done)
    if isinstance(head, Refusal):
        return
    store = FieldStore()

    again = judge_request(request_fields(head, store), done, LIMITS, True)

    assert isinstance(again, RequestHead), again
    for attribute in (
        "method",
        "target",
        "host",
        "port",
        "authority",
        "forward",
        "framing",
        "content_length",
        "protocol",
    ):
        assert getattr(again, attribute) == getattr(head, attribute), attribute


@given(request_heads())
def test_a_request_of_http_1_goes_on_as_http_2(pairs: Pairs) -> None:
    first = judged(pairs)
    assert isinstance(first, RequestHead)
    head = parse_request(write_request(first, b"X-Upper: 1\r\nConnection: x-named\r\nX-Named: 1\r\n"), LIMITS)
    assert isinstance(head, RequestHead)
    store = FieldStore()

    again = judge_request(request_fields(head, store), True, LIMITS, True)

    assert isinstance(again, RequestHead)
    assert sorted(again.forward.splitlines()) == sorted(head.forward.replace(b"X-Upper", b"x-upper").splitlines())
    assert (again.target, again.authority) == (head.target, head.authority)
    assert again.value(b"x-named") is None


@given(st.integers(200, 599), fields, st.sampled_from(["GET", "HEAD"]), st.integers(-1, 20))
def test_answers_cross_both_ways(status: int, pairs: Pairs, method: str, length: int) -> None:
    store = FieldStore()
    pairs = [pair for pair in pairs if pair[0] != b"cookie"]
    sent = [(b":status", b"%d" % status), *pairs]
    if length >= 0 and status != 204:
        sent.append((b"content-length", b"%d" % length))
    done = length <= 0
    head = judge_response([store.field(*pair) for pair in sent], done, method)
    assert isinstance(head, ResponseHead)

    lines = parse_response(write_response(head, 1, False), method, LIMITS)
    assert isinstance(lines, ResponseHead)
    assert (lines.status, lines.forward, lines.content_length) == (status, head.forward, head.content_length)

    again = judge_response(response_fields(lines, store), done, method)
    assert isinstance(again, ResponseHead)
    assert (again.status, again.forward, again.content_length) == (status, head.forward, head.content_length)


@given(fields)
def test_trailers_cross_from_http_1(pairs: Pairs) -> None:
    store = FieldStore()

    kept = judge_trailers(trailer_fields([(name.title(), value) for name, value in pairs], store))

    assert not isinstance(kept, Refusal)
    assert [field.pair for field in kept] == [pair for pair in pairs if pair[0] not in (b"cookie", b"content-type")]
