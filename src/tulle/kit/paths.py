"""Where Tulle keeps things on this box: the one module that knows.

Directories are made with mode 0700 and refused when somebody else owns them or may write to them.
"""

import os
import stat
from pathlib import Path


class UnsafeDirectory(OSError):
    """A directory that Tulle would trust belongs to somebody else, or is open to others."""


def runtime_dir(mesh: str, *, create: bool = True) -> Path:
    """Where the sockets of a running mesh live. Gone after a reboot."""
    return _under(runtime_parent(), mesh, create)


def state_dir(mesh: str, *, create: bool = True) -> Path:
    """What survives a reboot: revisions and logs."""
    return _under(state_parent(), mesh, create)


def runtime_parent() -> Path:
    """Holds one runtime directory per mesh."""
    if said := os.environ.get("TULLE_RUNTIME_DIR"):
        return Path(said)
    if os.getuid() == 0:
        return Path("/run/tulle")
    if said := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(said) / "tulle"
    return Path(f"/tmp/tulle-{os.getuid()}")  # noqa: S108  (made 0700, owner and mode checked)


def state_parent() -> Path:
    """Holds one state directory per mesh."""
    if said := os.environ.get("TULLE_STATE_DIR"):
        return Path(said)
    if os.getuid() == 0:
        return Path("/var/lib/tulle")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "tulle"


def agent_socket(mesh: str, *, create: bool = True) -> Path:
    """The agent's API."""
    return runtime_dir(mesh, create=create) / "agent.sock"


def admin_socket(mesh: str, *, create: bool = True) -> Path:
    """The proxy's admin API."""
    return runtime_dir(mesh, create=create) / "admin.sock"


def supervisor_pid_file(mesh: str, *, create: bool = True) -> Path:
    """Locked by the running supervisor; holds its process id."""
    return runtime_dir(mesh, create=create) / "supervisor.pid"


def database(mesh: str, *, create: bool = True) -> Path:
    """Revisions, in SQLite."""
    return state_dir(mesh, create=create) / "tulle.db"


def log_dir(mesh: str, *, create: bool = True) -> Path:
    """Output of pods and of Tulle's own processes."""
    return _under(state_dir(mesh, create=create), "logs", create)


def pod_log(mesh: str, pod: str, *, create: bool = True) -> Path:
    """Output of one pod, named `namespace/workload`. Namespaces hold no underscore, so names cannot collide."""
    return log_dir(mesh, create=create) / f"{pod.replace('/', '_', 1)}.log"


def process_log(mesh: str, process: str, *, create: bool = True) -> Path:
    """Output of `agent`, `proxy` or `supervisor`."""
    return log_dir(mesh, create=create) / f"{process}.log"


def _under(parent: Path, name: str, create: bool) -> Path:
    if not name or "/" in name or name in (".", ".."):
        raise ValueError(f"not a directory name: {name!r}")
    path = parent / name
    if create:
        for one in (parent, path):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(one)
    return path


def _check(path: Path) -> None:
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise UnsafeDirectory(f"{path} is not a directory")
    if facts.st_uid != os.getuid():
        raise UnsafeDirectory(f"{path} belongs to uid {facts.st_uid}, not to {os.getuid()}")
    if facts.st_mode & 0o022:
        raise UnsafeDirectory(f"{path} is writable for others (mode {stat.S_IMODE(facts.st_mode):04o})")
