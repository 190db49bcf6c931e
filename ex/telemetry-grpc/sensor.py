"""Measures twice a second and streams what it read to the collector: one call, as long as it lasts."""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import grpc

HALF_A_SECOND = 0.5


def readings() -> Iterator[Any]:
    """A day's temperatures in a minute."""
    while True:
        yield {"sensor": "roof", "celsius": round(20 + 10 * math.sin(time.time() / 10), 2), "time": time.time()}
        time.sleep(HALF_A_SECOND)


def octets(message: Any) -> bytes:
    return json.dumps(message).encode()


def main() -> None:
    with grpc.insecure_channel("collector:50051") as channel:
        report = channel.stream_stream("/telemetry.Collector/Report", octets, json.loads)
        while True:
            try:
                for word in report(readings(), wait_for_ready=True):
                    print(f"reading {word['received']} is there{', alarm' if word['alarm'] else ''}")
            except grpc.RpcError as error:
                print(f"the stream ended: {error.code().name}: {error.details()}")
                time.sleep(HALF_A_SECOND)


main()
