"""Takes streams of readings, and tells the latest. Messages are JSON, so that nothing need be generated."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

LATEST: dict[str, Any] = {}
ALARM = 28.0


def report(readings: Iterator[Any], _: Any) -> Iterator[Any]:
    """A stream of readings, and back a word about each."""
    for count, reading in enumerate(readings, 1):
        LATEST[reading["sensor"]] = reading
        yield {"received": count, "alarm": reading["celsius"] > ALARM}


def latest(_: Any, context: Any) -> Any:
    """The last reading of each sensor."""
    if not LATEST:
        context.abort(grpc.StatusCode.NOT_FOUND, "no sensor has reported yet")
    return LATEST


def octets(message: Any) -> bytes:
    return json.dumps(message).encode()


def main() -> None:
    methods = {
        "Report": grpc.stream_stream_rpc_method_handler(report, json.loads, octets),
        "Latest": grpc.unary_unary_rpc_method_handler(latest, json.loads, octets),
    }
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("telemetry.Collector", methods),))
    server.add_insecure_port("0.0.0.0:50051")
    server.start()
    print("collecting")
    server.wait_for_termination()


main()
