"""Everything that `make bench` measures, in its order."""

from benchmarks.case import Case
from benchmarks.cases import fixed, grpc, http1, idle, policies, tcp

CASES: tuple[Case, ...] = (*http1.CASES, *fixed.CASES, *grpc.CASES, *tcp.CASES, *policies.CASES, *idle.CASES)
