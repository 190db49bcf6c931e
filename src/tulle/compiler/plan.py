"""What the supervisor shall run, and what each namespace's names mean."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from tulle.compiler.index import Index
from tulle.model.names import qualify
from tulle.model.workloads import Attach, Container, Isolation, Run, Workload
from tulle.model.workloads import Readiness as ReadinessModel
from tulle.wire.plan import AttachSpec, ContainerSpec, PodSpec, Readiness

LOOPBACK = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
DOMAIN = "svc.cluster.local"
"""As on a cluster, so that a service's configuration may stay as it is."""


def pods(index: Index, base_dir: str, environment: Mapping[str, str]) -> list[PodSpec]:
    """Every workload that runs here, by name."""
    return [
        _pod(one, one.spec.run, base_dir, environment) for one in index.workloads.values() if one.spec.run is not None
    ]


def attached(index: Index) -> list[AttachSpec]:
    """Every workload that is recognised where it runs, by name."""
    return [_attach(one.qualified, one.spec.attach) for one in index.workloads.values() if one.spec.attach is not None]


def hosts(index: Index, addresses: Mapping[str, str]) -> dict[str, str]:
    """Text of /etc/hosts for each namespace in which something runs; its own services also by their bare names."""
    namespaces = sorted({str(one.metadata.namespace) for one in index.workloads.values() if one.spec.run is not None})
    return {namespace: LOOPBACK + "".join(host_lines(index.services, namespace, addresses)) for namespace in namespaces}


def host_lines(services: Iterable[str], namespace: str, addresses: Mapping[str, str]) -> Iterator[str]:
    """A line of a hosts file for each service: its names, as a namespace knows it, at its virtual address."""
    for service in services:
        home, _, name = service.partition("/")
        names = [f"{name}.{home}", f"{name}.{home}.svc", f"{name}.{home}.{DOMAIN}"]
        yield " ".join([addresses[service], *([name] if home == namespace else []), *names]) + "\n"


def _pod(workload: Workload, run: Run, base_dir: str, environment: Mapping[str, str]) -> PodSpec:
    namespace = str(workload.metadata.namespace)
    home = posixpath.normpath(posixpath.join(base_dir, str(run.working_dir or "")))
    return PodSpec(
        name=workload.qualified,
        namespace=namespace,
        argv=run.argv,
        env={**environment, **{str(name): str(value) for name, value in run.env.items()}},
        cwd=home,
        user=str(run.user or ""),
        writable=[str(one) for one in run.writable],
        isolated=run.isolation is Isolation.POD,
        readiness=_readiness(run.readiness),
        depends_on=sorted({qualify(one, namespace) for one in run.depends_on}),
        stop_seconds=float(run.stop_seconds),
        container=None if run.container is None else _container(run.container, base_dir),
    )


_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def _container(container: Container, base_dir: str) -> ContainerSpec:
    return ContainerSpec(
        image=str(container.image),
        mounts=[_mount(one, base_dir) for one in container.mounts],
        pull=str(container.pull),
        memory=_octets(container.memory or "0"),
        cpus=float(container.cpus or 0.0),
    )


def _mount(written: str, base_dir: str) -> list[str]:
    source, target, *how = written.split(":")
    if "/" in source or source.startswith("."):
        source = posixpath.normpath(posixpath.join(base_dir, source))
    return [source, target, *(how or ["rw"])]


def _octets(written: str) -> int:
    number, unit = (written[:-2], written[-2:]) if written[-2:] in _UNITS else (written, "")
    return int(number) * _UNITS.get(unit, 1)


def _attach(name: str, attach: Attach) -> AttachSpec:
    return AttachSpec(name, str(attach.uid or ""), str(attach.systemd or ""), str(attach.cgroup or ""))


def _readiness(readiness: ReadinessModel | None) -> Readiness | None:
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
