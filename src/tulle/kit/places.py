"""Where Tulle keeps things on this box: the one module that knows. Text; `tulle.kit.paths` has the same as Path.

Directories are made with mode 0700 and refused when somebody else owns them or may write to them. Only the forward proxy's
socket lies where others may pass.
It does without pathlib, which costs the supervisor and every fork of it most of a megabyte.
"""

import os
import stat


class UnsafeDirectory(OSError):
    """A directory that Tulle would trust belongs to somebody else, or is open to others."""


def runtime_dir(mesh: str, *, create: bool = True) -> str:
    """Where the sockets of a running mesh live. Gone after a reboot."""
    return _under(runtime_parent(), mesh, create)


def state_dir(mesh: str, *, create: bool = True) -> str:
    """What survives a reboot: revisions, and logs where they have no place of their own."""
    return _under(state_parent(), mesh, create)


def log_dir(mesh: str, *, create: bool = True) -> str:
    """Output of pods and of Tulle's own processes."""
    if parent := log_parent():
        return _under(parent, mesh, create)
    return _under(state_dir(mesh, create=create), "logs", create)


def pod_log(mesh: str, pod: str, *, create: bool = True) -> str:
    """Output of one pod, named `namespace/workload`. Namespaces hold no underscore, so names cannot collide."""
    return f"{log_dir(mesh, create=create)}/{pod.replace('/', '_', 1)}.log"


def process_log(mesh: str, process: str, *, create: bool = True) -> str:
    """Output of `agent`, `proxy` or `supervisor`."""
    return f"{log_dir(mesh, create=create)}/{process}.log"


def admin_socket(mesh: str, *, create: bool = True) -> str:
    """The admin API of the proxy that serves: a link to that proxy's own socket."""
    return f"{runtime_dir(mesh, create=create)}/admin.sock"


def forward_directory(mesh: str, *, create: bool = True) -> str:
    """Where the forward proxy's socket lies: anyone may pass through it, only its owner may change what is in it.

    Beside the runtime directory, which stays closed. Others may pass through the parent from then on, unless TULLE_RUNTIME_DIR names
    it: its mode is then the operator's matter.
    """
    parent, name = runtime_parent(), f"{mesh}.forward"
    path = _under(parent, name, create)
    if create:
        os.chmod(path, 0o755)  # noqa: S103, PTH101
        mode = stat.S_IMODE(os.lstat(parent).st_mode)
        if not os.environ.get("TULLE_RUNTIME_DIR") and mode & 0o011 != 0o011:
            os.chmod(parent, mode | 0o011)  # noqa: S103, PTH101
    return path


def forward_socket(mesh: str, *, create: bool = True) -> str:
    """Where attached services of any user reach the forward proxy by a path."""
    return f"{forward_directory(mesh, create=create)}/proxy.sock"


def supervisor_pid_file(mesh: str, *, create: bool = True) -> str:
    """Locked by the running supervisor; holds its process id."""
    return f"{runtime_dir(mesh, create=create)}/supervisor.pid"


def runtime_parent() -> str:
    """Holds one runtime directory per mesh."""
    if said := os.environ.get("TULLE_RUNTIME_DIR"):
        return said
    if os.getuid() == 0:
        return "/run/tulle"
    if said := os.environ.get("XDG_RUNTIME_DIR"):
        return f"{said}/tulle"
    return f"/tmp/tulle-{os.getuid()}"  # noqa: S108  (made 0700, owner and mode checked)


def state_parent() -> str:
    """Holds one state directory per mesh."""
    if said := os.environ.get("TULLE_STATE_DIR"):
        return said
    if os.getuid() == 0:
        return "/var/lib/tulle"
    said = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    return f"{said}/tulle"


def log_parent() -> str:
    """Holds one directory of logs per mesh; empty where logs lie within the state, as an ordinary user's do."""
    if os.environ.get("TULLE_STATE_DIR") or os.getuid() != 0:
        return ""
    return "/var/log/tulle"


def config_parent() -> str:
    """Holds the manifests of installed meshes, one directory each."""
    if os.getuid() == 0:
        return "/etc/tulle"
    said = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return f"{said}/tulle"


def refuse_unsafe(path: str) -> None:
    """Raises UnsafeDirectory unless it is a directory of this user's that nobody else may write to."""
    facts = os.lstat(path)
    if not stat.S_ISDIR(facts.st_mode):
        raise UnsafeDirectory(f"{path} is not a directory")
    if facts.st_uid != os.getuid():
        raise UnsafeDirectory(f"{path} belongs to uid {facts.st_uid}, not to {os.getuid()}")
    if facts.st_mode & 0o022:
        raise UnsafeDirectory(f"{path} is writable for others (mode {stat.S_IMODE(facts.st_mode):04o})")


def _under(parent: str, name: str, create: bool) -> str:
    if not name or "/" in name or name in (".", ".."):
        raise ValueError(f"not a directory name: {name!r}")
    path = f"{parent}/{name}"
    if create:
        os.makedirs(parent, mode=0o700, exist_ok=True)  # noqa: PTH103
        refuse_unsafe(parent)
        os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103
        refuse_unsafe(path)
    return path
