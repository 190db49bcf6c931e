"""What each pod is started with: who it is, its environment, what it sees of the box, where its output goes."""

import os
import sys
from typing import TYPE_CHECKING

from tulle.kit import places
from tulle.supervisor.command import environment_of, needed_for
from tulle.supervisor.hosts import HostFiles
from tulle.supervisor.init import Service
from tulle.supervisor.journal import LogFile
from tulle.supervisor.steps import StepFailed
from tulle.supervisor.tree import View
from tulle.supervisor.user import UidTable, identify
from tulle.wire.plan import Plan, PodSpec

if TYPE_CHECKING:
    from tulle.supervisor.container import Container
    from tulle.supervisor.container_mounts import Ground


class Outfits:
    """Follows the plan in what pods have in common: names, read-only and shared paths."""

    def __init__(self, mesh: str, descriptors: int) -> None:
        """`descriptors`: the limit that services start with."""
        self._mesh = mesh
        self._descriptors = descriptors
        self._protected: list[str] = []
        self._shared: list[str] = []
        self._uids = UidTable(f"{places.state_dir(mesh)}/uids") if os.getuid() == 0 else None
        self._files = HostFiles(places.runtime_dir(mesh))

    def follow(self, plan: Plan) -> None:
        """Pods see the plan's names at once, and start by the rest of it. Raises OSError when names cannot be written."""
        self._protected = plan.protected
        self._shared = [os.path.join(one.cwd, path) for one in plan.pods for path in one.writable]
        if given := [mount for one in plan.pods if one.container for mount in one.container.mounts]:
            from tulle.supervisor.container_mounts import writable_sources

            self._shared += writable_sources(given, self._ground())
        self._files.write_hosts(plan.hosts)

    def log(self, pod: str) -> LogFile:
        """Where its output goes."""
        return LogFile(places.pod_log(self._mesh, pod))

    def service(self, spec: PodSpec, stdout: int, stderr: int) -> Service:
        """What pid 1 of this pod must know. Raises StepFailed and OSError."""
        who = identify(spec.name, "" if spec.container else spec.user, self._uids)
        env = spec.env if spec.container else environment_of(spec, who)
        view = None
        writable = [os.path.join(spec.cwd, path) for path in spec.writable]
        if spec.isolated and not spec.container:
            view = View(
                needed=[spec.cwd, *writable, *self._protected, *needed_for(spec.argv, env["PATH"], spec.cwd)],
                writable=writable,
                shared=self._shared,
                protected=self._protected,
                code=own_code(),
                hidden=hidden_directories(self._mesh),
                files=self._files.of(spec, who),
                uid=who.uid,
                gid=who.gid,
                groups=who.groups,
            )
        hostname = spec.name.rpartition("/")[2][:63]
        return Service(
            spec.argv, env, spec.cwd, who, view, hostname, spec.readiness, stdout, stderr, self._descriptors, writable
        )

    def container(self, spec: PodSpec) -> "Container":
        """What its middle process must know besides. Raises StepFailed and OSError."""
        from tulle.supervisor.container import Container
        from tulle.supervisor.container_cgroup import cgroup_of

        if self._uids is None:
            raise StepFailed("podman", "containers need root: an ordinary user's podman cannot enter a pod")
        if spec.container is None:
            raise ValueError(f"{spec.name} is no container")
        own = self._uids.uid_of(spec.name)
        return Container(
            spec=spec.container,
            user=spec.user,
            own=f"{own}:{own}",
            cgroup=cgroup_of(self._mesh, spec.name),
            place=f"{places.runtime_dir(self._mesh)}/containers",
            files=self._files.of_container(spec),
            ground=self._ground(),
        )

    def _ground(self) -> "Ground":
        from tulle.supervisor.container_mounts import Ground

        return Ground(hidden_directories(self._mesh), self._protected, own_code(), self._shared)

    def clear(self, spec: PodSpec) -> None:
        """Takes away what the kernel keeps of a container that has ended."""
        from tulle.supervisor.container_cgroup import cgroup_of, clear_cgroup

        clear_cgroup(cgroup_of(self._mesh, spec.name))


def own_code() -> list[str]:
    """Where what Tulle runs comes from: read-only in every pod, lest a service decides what runs outside at the next start."""
    own = [] if sys.prefix == sys.base_prefix else [sys.prefix]
    return [*own, *(path for path in sys.path if os.path.isabs(path) and os.path.isdir(path))]


def hidden_directories(mesh: str) -> list[str]:
    """What no pod sees: the parents of every mesh's directories where they are Tulle's own, else this mesh's."""
    found: list[str] = []
    for parent, variable in (
        (places.runtime_parent(), "TULLE_RUNTIME_DIR"),
        (places.state_parent(), "TULLE_STATE_DIR"),
    ):
        found.append(os.path.realpath(f"{parent}/{mesh}" if os.environ.get(variable) else parent))
    if os.environ.get("TULLE_RUNTIME_DIR"):
        found.append(os.path.realpath(places.forward_directory(mesh, create=False)))
    if parent := places.log_parent():
        found.append(os.path.realpath(parent))
    return found
