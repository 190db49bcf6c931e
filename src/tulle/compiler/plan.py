"""What the supervisor shall run, and what each namespace's names mean."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from tulle.compiler.index import Index
from tulle.model import resources as model
from tulle.model.names import qualify
from tulle.wire.plan import PodSpec, Readiness

LOOPBACK = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
DOMAIN = "svc.cluster.local"
"""As on a cluster, so that a service's configuration may stay as it is."""


def pods(index: Index, base_dir: str, environment: Mapping[str, str]) -> list[PodSpec]:
    """Every workload that runs here, by name."""
    return [
        _pod(one, one.spec.run, base_dir, environment) for one in index.workloads.values() if one.spec.run is not None
    ]


def hosts(index: Index, addresses: Mapping[str, str]) -> dict[str, str]:
    """Text of /etc/hosts for each namespace in which something runs; its own services also by their bare names."""
    namespaces = sorted({str(one.metadata.namespace) for one in index.workloads.values() if one.spec.run is not None})
    return {namespace: LOOPBACK + "".join(_lines(index.services, namespace, addresses)) for namespace in namespaces}


def _lines(services: Iterable[str], namespace: str, addresses: Mapping[str, str]) -> Iterator[str]:
    for service in services:
        home, _, name = service.partition("/")
        names = [f"{name}.{home}", f"{name}.{home}.svc", f"{name}.{home}.{DOMAIN}"]
        yield " ".join([addresses[service], *([name] if home == namespace else []), *names]) + "\n"


def _pod(workload: model.Workload, run: model.Run, base_dir: str, environment: Mapping[str, str]) -> PodSpec:
    namespace = str(workload.metadata.namespace)
    return PodSpec(
        name=workload.qualified,
        namespace=namespace,
        argv=run.argv,
        env={**environment, **{str(name): str(value) for name, value in run.env.items()}},
        cwd=posixpath.normpath(posixpath.join(base_dir, str(run.working_dir or ""))),
        user=str(run.user or ""),
        writable=[str(one) for one in run.writable],
        isolated=run.isolation is model.Isolation.POD,
        readiness=_readiness(run.readiness),
        depends_on=sorted({qualify(one, namespace) for one in run.depends_on}),
        stop_seconds=float(run.stop_seconds),
    )


def _readiness(readiness: model.Readiness | None) -> Readiness | None:
    if readiness is None:
        return None
    return Readiness(
        readiness.port,
        str(readiness.path or ""),
        startup_seconds=float(readiness.startup_seconds),
        timeout_seconds=float(readiness.timeout_seconds),
        period_seconds=float(readiness.period_seconds),
        failure_threshold=readiness.failure_threshold,
    )
