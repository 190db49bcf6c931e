"""Everything that `make bench` measures, in its order."""

from benchmarks.case import Case
from benchmarks.cases import (
    apply,
    bodies,
    connect,
    fixed,
    grpc,
    http1,
    http2,
    idle,
    memory,
    policies,
    status,
    swap,
    tcp,
    websocket,
)

CASES: tuple[Case, ...] = (
    *http1.CASES,
    *fixed.CASES,
    *http2.CASES,
    *grpc.CASES,
    *connect.CASES,
    *tcp.CASES,
    *websocket.CASES,
    *bodies.CASES,
    *policies.CASES,
    *idle.CASES,
    *memory.CASES,
    *apply.CASES,
    *swap.CASES,
    *status.CASES,
)
