"""Shows the latest readings once a second, and tries once what it may not."""

import json
import time
from typing import Any

import grpc


def octets(message: Any) -> bytes:
    return json.dumps(message).encode()


def main() -> None:
    with grpc.insecure_channel("collector:50051") as channel:
        latest = channel.unary_unary("/telemetry.Collector/Latest", octets, json.loads)
        report = channel.stream_stream("/telemetry.Collector/Report", octets, json.loads)
        try:
            next(report(iter([{"sensor": "roof", "celsius": 99.0}]), timeout=5, wait_for_ready=True))
        except grpc.RpcError as error:
            print(f"to report is not for a panel: {error.code().name}: {error.details()}")
        while True:
            try:
                for name, reading in latest({}, timeout=1).items():
                    print(f"{name}: {reading['celsius']} °C")
            except grpc.RpcError as error:
                print(f"{error.code().name}: {error.details()}")
            time.sleep(1)


main()
