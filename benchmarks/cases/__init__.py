"""Everything that `make bench` measures, in its order."""

from benchmarks.case import Case
from benchmarks.cases import bodies, fixed, grpc, http1, http2, idle, policies, tcp, websocket

CASES: tuple[Case, ...] = (
    *http1.CASES,
    *fixed.CASES,
    *http2.CASES,
    *grpc.CASES,
    *tcp.CASES,
    *websocket.CASES,
    *bodies.CASES,
    *policies.CASES,
    *idle.CASES,
)
