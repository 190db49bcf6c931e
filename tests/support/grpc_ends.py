"""Both ends of gRPC, by grpcio with generic handlers: a service that does what its methods say, and channels to it.

As a program it serves on the port that it is given.
"""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # the tests start processes; none of them goes on with gRPC

import grpc  # type: ignore[import-untyped]

DEADLINE = 20.0
"""Seconds after which a call that should have ended fails the test."""
THREADS = 300
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
)
SERVICE = "shop.Orders"


class GrpcService:
    """Serves `shop.Orders` on a port of its own, and remembers what happened to calls that wait."""

    def __init__(self, port: int = 0, name: str = "", address: str = "127.0.0.1") -> None:
        self.name = name
        self.waiting = threading.Semaphore(0)
        """Released when a call begins to wait."""
        self.ended = threading.Semaphore(0)
        """Released when a waiting call has ended at this end."""
        self.arrived: set[bytes] = set()
        """What calls to `Wait` said."""
        self.seen = 0
        """Calls that came."""
        self._lock = threading.Lock()
        self._waits: set[threading.Event] = set()
        self._pool = ThreadPoolExecutor(THREADS)
        self._server = grpc.server(self._pool, options=OPTIONS)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = int(self._server.add_insecure_port(f"{address}:{port}"))
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(0)

    def go_on(self) -> None:
        """Calls that wait end well."""
        with self._lock:
            for one in self._waits:
                one.set()

    def stop(self, grace: float) -> None:
        """GOAWAY to all, and the end once calls are over or the grace is."""
        self._server.stop(grace).wait(DEADLINE)
        self._pool.shutdown(wait=False)

    def _handlers(self) -> Any:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
                "Name": grpc.unary_unary_rpc_method_handler(self._tell),
                "Count": grpc.unary_stream_rpc_method_handler(self._count_to),
                "Sum": grpc.stream_unary_rpc_method_handler(self._sum),
                "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
                "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
                "Wait": grpc.unary_unary_rpc_method_handler(self._wait),
                "Drip": grpc.unary_stream_rpc_method_handler(self._drip),
            },
        )

    def _note(self) -> None:
        with self._lock:
            self.seen += 1

    def _echo(self, request: bytes, _: Any) -> bytes:
        self._note()
        return request

    def _tell(self, _request: bytes, _context: Any) -> bytes:
        self._note()
        return self.name.encode()

    def _count_to(self, request: bytes, _: Any) -> Iterator[bytes]:
        self._note()
        for number in range(int(request)):
            yield b"%d" % number

    def _sum(self, requests: Iterator[bytes], _: Any) -> bytes:
        self._note()
        return b"%d" % sum(len(request) for request in requests)

    def _chat(self, requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
        self._note()
        yield from requests

    def _fail(self, request: bytes, context: Any) -> bytes:
        self._note()
        context.set_trailing_metadata((("why", "asked-for"),))
        context.abort(grpc.StatusCode[request.decode()], "as asked, façon de parler")
        raise AssertionError

    def _wait(self, request: bytes, context: Any) -> bytes:
        self._note()
        self.arrived.add(request)
        self._until_over(context)
        return b""

    def _drip(self, request: bytes, context: Any) -> Iterator[bytes]:
        self._note()
        yield request
        self._until_over(context)
        yield b"last"

    def _until_over(self, context: Any) -> None:
        over = threading.Event()
        with self._lock:
            self._waits.add(over)
        if context.add_callback(over.set):
            self.waiting.release()
            over.wait(DEADLINE)
        with self._lock:
            self._waits.remove(over)
        self.ended.release()


class Calls:
    """A channel to a door, and the service's methods on it."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        self.echo = self.channel.unary_unary(f"/{SERVICE}/Echo")
        self.name = self.channel.unary_unary(f"/{SERVICE}/Name")
        self.count = self.channel.unary_stream(f"/{SERVICE}/Count")
        self.sum = self.channel.stream_unary(f"/{SERVICE}/Sum")
        self.chat = self.channel.stream_stream(f"/{SERVICE}/Chat")
        self.fail = self.channel.unary_unary(f"/{SERVICE}/Fail")
        self.wait = self.channel.unary_unary(f"/{SERVICE}/Wait")
        self.drip = self.channel.unary_stream(f"/{SERVICE}/Drip")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def unary(self, path: str) -> Any:
        """A method by its path."""
        return self.channel.unary_unary(path)


@contextmanager
def fails(status: str) -> Iterator["Failure"]:
    """Expects a call within to end in this status; tells what came with it."""
    failure = Failure()
    try:
        yield failure
    except grpc.RpcError as error:
        failure.details = error.details() or ""
        failure.metadata = dict(error.initial_metadata() or ())
        failure.trailing = dict(error.trailing_metadata() or ())
        assert error.code().name == status, (error.code().name, failure.details)
        return
    raise AssertionError(f"the call ended well, not in {status}")


class Failure:
    """How a call failed."""

    def __init__(self) -> None:
        self.details = ""
        self.metadata: dict[str, str] = {}
        self.trailing: dict[str, str] = {}


if __name__ == "__main__":
    GrpcService(int(sys.argv[1]), address="0.0.0.0")
    threading.Event().wait()
