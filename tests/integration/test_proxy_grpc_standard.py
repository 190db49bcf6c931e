"""gRPC's own services go through as any: health, its watch, and reflection, by the packages that everybody uses."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]
    ProtoReflectionDescriptorDatabase,
)

from tests.support.grpc_ends import DEADLINE, OPTIONS
from tests.support.proxy_harness import Proxy, host, one_service
from tulle.wire.snapshot import Protocol

NAME = "grpc.health.v1.Health"


@pytest.fixture
def servicer() -> health.HealthServicer:
    return health.HealthServicer()


@pytest.fixture
def channel(proxy: Proxy, servicer: health.HealthServicer) -> Iterator[grpc.Channel]:
    server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(port),)))
    with grpc.insecure_channel(f"127.0.0.1:{door}", options=OPTIONS) as channel:
        yield channel
    server.stop(0).wait(DEADLINE)


def test_health_is_asked_and_watched(channel: grpc.Channel, servicer: health.HealthServicer) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status == serving
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
    assert next(watch).status == serving
    servicer.set("", not_serving)
    assert next(watch).status == not_serving
    watch.cancel()
    with pytest.raises(grpc.RpcError) as unknown:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=DEADLINE)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_server_describes_itself(channel: grpc.Channel) -> None:
    described = ProtoReflectionDescriptorDatabase(channel)
    assert set(described.get_services()) == {NAME, reflection.SERVICE_NAME}
    service = described.FindFileContainingSymbol(NAME)
    assert {method.name for method in service.service[0].method} >= {"Check", "Watch"}
