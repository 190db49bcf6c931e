"""Everything that `make bench` measures, in its order."""

from benchmarks.case import Case
from benchmarks.cases import grpc, http1

CASES: tuple[Case, ...] = (*http1.CASES, *grpc.CASES)
