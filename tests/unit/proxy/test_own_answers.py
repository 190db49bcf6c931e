"""Every answer of our own says its reason and an id, and frames itself so that the connection can go on."""

import pytest

from tulle.http.h1 import ResponseHead, find_head_end, parse_response
from tulle.http.head import Limits
from tulle.proxy.own_answers import write_own_answer
from tulle.wire.reason import Reason


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.code)
@pytest.mark.parametrize("with_body", [True, False])
def test_an_answer_is_sound_http_and_names_its_reason(reason: Reason, with_body: bool) -> None:
    octets = write_own_answer(reason, "id-1", close=False, with_body=with_body, client_minor=1)
    end = find_head_end(octets, 0)
    head = parse_response(octets[:end], "GET" if with_body else "HEAD", Limits())
    assert isinstance(head, ResponseHead)
    assert head.status == reason.status
    assert head.value(b"x-tulle-reason") == reason.code.encode()
    assert head.value(b"x-request-id") == b"id-1"
    assert len(octets) - end == (head.content_length if with_body else 0)
