"""`tulle.kit.places` as Path, for all but the supervisor."""

from pathlib import Path

from tulle.kit import places
from tulle.kit.places import UnsafeDirectory

__all__ = [
    "UnsafeDirectory",
    "admin_socket",
    "agent_socket",
    "database",
    "log_dir",
    "pod_log",
    "process_log",
    "runtime_dir",
    "runtime_parent",
    "spool",
    "state_dir",
    "state_parent",
    "supervisor_pid_file",
]


def runtime_dir(mesh: str, *, create: bool = True) -> Path:
    """Where the sockets of a running mesh live. Gone after a reboot."""
    return Path(places.runtime_dir(mesh, create=create))


def state_dir(mesh: str, *, create: bool = True) -> Path:
    """What survives a reboot: revisions and logs."""
    return Path(places.state_dir(mesh, create=create))


def runtime_parent() -> Path:
    """Holds one runtime directory per mesh."""
    return Path(places.runtime_parent())


def state_parent() -> Path:
    """Holds one state directory per mesh."""
    return Path(places.state_parent())


def agent_socket(mesh: str, *, create: bool = True) -> Path:
    """The agent's API."""
    return runtime_dir(mesh, create=create) / "agent.sock"


def admin_socket(mesh: str, *, create: bool = True) -> Path:
    """The proxy's admin API."""
    return Path(places.admin_socket(mesh, create=create))


def supervisor_pid_file(mesh: str, *, create: bool = True) -> Path:
    """Locked by the running supervisor; holds its process id."""
    return Path(places.supervisor_pid_file(mesh, create=create))


def database(mesh: str, *, create: bool = True) -> Path:
    """Revisions, in SQLite."""
    return state_dir(mesh, create=create) / "tulle.db"


def spool(mesh: str, *, create: bool = True) -> Path:
    """What is to leave and has not been taken yet, in SQLite."""
    return state_dir(mesh, create=create) / "spool.db"


def log_dir(mesh: str, *, create: bool = True) -> Path:
    """Output of pods and of Tulle's own processes."""
    return Path(places.log_dir(mesh, create=create))


def pod_log(mesh: str, pod: str, *, create: bool = True) -> Path:
    """Output of one pod, named `namespace/workload`."""
    return Path(places.pod_log(mesh, pod, create=create))


def process_log(mesh: str, process: str, *, create: bool = True) -> Path:
    """Output of `agent`, `proxy` or `supervisor`."""
    return Path(places.process_log(mesh, process, create=create))
