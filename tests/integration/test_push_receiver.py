"""How a receiver is spoken to: its answers, its silences, the connection that is kept, the token that is replaced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.scripted_receiver import CLOSE, HANG, OK, Scripted
from tulle.telemetry.delivery import Later, Outcome, Refused, Taken
from tulle.telemetry.receiver import ANSWER_BYTES, Receiver
from tulle.telemetry.remote_write import HEADERS
from tulle.wire.sinks import PushSink

NOW = 1_700_000_000.0

Make = Callable[..., tuple[Scripted, Receiver]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Asynchronous, so that receivers are closed by the loop that opened them."""
    async with contextlib.AsyncExitStack() as stack:

        def made(*script: bytes, **words: object) -> tuple[Scripted, Receiver]:
            scripted = Scripted(*script)
            stack.push_async_callback(asyncio.to_thread, scripted.close)
            defaults = {"interval": 1.0, "timeout": 20.0, "spool_bytes": 1 << 20, "spool_seconds": 60.0}
            sink = PushSink(url=f"http://127.0.0.1:{scripted.port}/write?a=b", **(defaults | words))  # type: ignore[arg-type]
            receiver = Receiver(sink, "tulle/test", lambda: NOW)
            stack.callback(receiver.close)
            return scripted, receiver

        yield made


async def sent(receiver: Receiver, body: bytes = b"body") -> Outcome:
    return await receiver.send(body, HEADERS)


async def test_a_request_is_what_the_specification_asks_for(make: Make) -> None:
    scripted, receiver = make(OK, headers={"X-Scope-OrgID": "plant"})

    assert await sent(receiver) == Taken()

    (head,) = scripted.heads
    assert head[""] == "POST /write?a=b HTTP/1.1"
    assert head["host"] == f"127.0.0.1:{scripted.port}"
    assert head["content-type"] == "application/x-protobuf"
    assert head["content-encoding"] == "snappy"
    assert head["x-prometheus-remote-write-version"] == "0.1.0"
    assert head["user-agent"] == "tulle/test"
    assert head["X-Scope-OrgID"] == "plant"
    assert scripted.bodies == [b"body"]


async def test_one_connection_serves_many_requests(make: Make) -> None:
    scripted, receiver = make(OK, b"HTTP/1.1 400 No\r\ncontent-length: 12\r\n\r\nout of order", OK)

    assert await sent(receiver) == Taken()
    assert await sent(receiver) == Refused("400: out of order")
    assert await sent(receiver) == Taken()

    assert scripted.dialled == 1


async def test_a_kept_connection_that_has_closed_costs_no_attempt(make: Make) -> None:
    scripted, receiver = make(OK, CLOSE, OK)

    assert await sent(receiver, b"first") == Taken()
    assert await sent(receiver, b"second") == Taken()

    assert scripted.dialled == 2
    assert scripted.bodies == [b"first", b"second", b"second"]


async def test_an_answer_that_asks_for_patience_is_obeyed(make: Make) -> None:
    _, receiver = make(
        b"HTTP/1.1 503 Busy\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nretry-after: Tue, 14 Nov 2023 22:14:20 GMT\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 11\r\n\r\nwhat a day\n",
    )

    assert await sent(receiver) == Later("status 503", 17.0)
    assert await sent(receiver) == Later("status 429", 60.0)
    assert await sent(receiver) == Later("500: what a day", None)


async def test_what_a_receiver_says_moves_no_cursor(make: Make) -> None:
    _, receiver = make(b"HTTP/1.1 400 No\r\ncontent-length: 12\r\n\r\n\x1b[2Jall gone")

    assert await sent(receiver) == Refused("400: ?[2Jall gone")


async def test_silence_has_an_end(make: Make) -> None:
    _, receiver = make(HANG, timeout=0.2)

    assert await sent(receiver) == Later("no answer within 0.2 s")


@pytest.mark.parametrize("answer", [CLOSE, b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"])
async def test_what_is_no_answer_is_asked_again(answer: bytes, make: Make) -> None:
    _, receiver = make(answer, timeout=1.0)

    assert isinstance(await sent(receiver), Later)


async def test_no_more_of_an_answer_is_read_than_there_is_use_for(make: Make) -> None:
    endless = b"HTTP/1.1 400 No\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 2 * ANSWER_BYTES
    scripted, receiver = make(endless, OK)

    outcome = await sent(receiver)

    assert isinstance(outcome, Refused)
    assert len(outcome.why) < 300
    assert await sent(receiver) == Taken()
    assert scripted.dialled == 2


async def test_nobody_there_is_said(make: Make) -> None:
    scripted, receiver = make()
    await asyncio.to_thread(scripted.close)

    outcome = await sent(receiver)

    assert isinstance(outcome, Later)
    assert "refused" in outcome.why or "Connect call failed" in outcome.why


async def test_a_name_that_no_resolver_can_spell_is_said() -> None:
    sink = PushSink(
        url=f"http://{'a' * 64}.example/", interval=1.0, timeout=20.0, spool_bytes=1 << 20, spool_seconds=60.0
    )

    outcome = await sent(Receiver(sink, "tulle/test", lambda: NOW))

    assert isinstance(outcome, Later)
    assert "idna" in outcome.why


async def test_a_token_is_read_anew_for_each_request(make: Make, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    scripted, receiver = make(OK, OK, bearer_token_file=str(token))

    await sent(receiver)
    token.write_text("two")
    await sent(receiver)

    assert [head["authorization"] for head in scripted.heads] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"a\nb", "more than one line"),
        (b"\xff", "no text"),
        ("tökén".encode(), "no token may"),
    ],
)
async def test_a_secret_that_is_none_is_said_and_nothing_is_sent(
    content: bytes | None, said: str, make: Make, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    scripted, receiver = make(bearer_token_file=str(token))

    outcome = await sent(receiver)

    assert isinstance(outcome, Later)
    assert str(token) in outcome.why
    assert said in outcome.why
    assert scripted.bodies == []
