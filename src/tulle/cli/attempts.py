"""What `tulle check` tries. Each attempt has a child of its own, returns what was seen, and raises OSError where it is impossible."""

import errno
import os
import socket
from pathlib import Path

from tulle.cli.probing import Impossible
from tulle.wire.plan import LISTENER_PORT, METRICS_PORT, VIRTUAL_NETWORK

GUARD_PORTS = "run the service in a pod, or let a firewall keep all but the proxy from its port (nftables: meta skuid)"
"""What keeps others from an attached service."""
_STRANGER = 65533
"""A uid that no service of the box has."""


def try_pod() -> str:
    """Makes a pod as the supervisor does, and runs a program in it."""
    from tulle.supervisor.probe import probe_pods

    if problem := probe_pods():
        raise Impossible(f"{problem.step}: {problem.why}", problem.remedy)
    return "made one and ran a program in it"


def try_kernel() -> str:
    """Looks at the kernel's release."""
    release = os.uname().release
    parts = release.replace("-", ".").split(".")
    if (int(parts[0]), int(parts[1])) < (5, 12):
        raise OSError(errno.ENOSYS, f"Linux {release}")
    return f"Linux {release}"


def try_user_namespace() -> str:
    """Enters one of this user's own."""
    from tulle.kit.namespaces import enter_user_namespace

    enter_user_namespace()
    return "made one" if os.getuid() else "made one; root needs none"


def _enter_pod_namespaces() -> None:
    from tulle.kit import namespaces

    if os.getuid():
        namespaces.enter_user_namespace()
    namespaces.unshare(namespaces.NEWNET | namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWPID)


def try_namespaces() -> str:
    """Enters all that a pod has of its own."""
    _enter_pod_namespaces()
    return "network, mount, PID, IPC and UTS"


def try_redirect() -> str:
    """Dials a virtual address in a network of its own, where nftables leads to the listener."""
    from tulle.kit import netlink

    _enter_pod_namespaces()
    netlink.bring_loopback_up()
    netlink.redirect_tcp(VIRTUAL_NETWORK, LISTENER_PORT)
    with socket.socket() as listener, socket.socket() as caller:
        listener.bind(("127.0.0.1", LISTENER_PORT))
        listener.listen()
        caller.settimeout(2.0)
        caller.connect(("127.80.1.2", 80))
    return "a connection to 127.80.1.2:80 arrived at the listener"


def try_addresses() -> str:
    """Dials a virtual address in a network of its own, where a listener is."""
    from tulle.kit import netlink
    from tulle.supervisor.addresses import open_listener

    _enter_pod_namespaces()
    netlink.bring_loopback_up()
    netlink.free_low_ports()
    with open_listener("127.80.1.2:80"), socket.socket() as caller:
        caller.settimeout(2.0)
        caller.connect(("127.80.1.2", 80))
    return "a connection to 127.80.1.2:80 arrived at a listener there"


def try_mounts() -> str:
    """Makes a tree read-only in a mount namespace of its own."""
    from tulle.kit import mounts

    _enter_pod_namespaces()
    mounts.keep_to_ourselves()
    mounts.bind_to_itself("/usr")
    mounts.seal("/usr")
    return "made a tree read-only"


def try_seccomp() -> str:
    """Confines itself as a service is confined."""
    from tulle.kit import privileges, seccomp

    privileges.refuse_new_privileges()
    seccomp.confine()
    return "a filter holds"


def try_memfd() -> str:
    """Makes memory that outlives who wrote it."""
    os.close(os.memfd_create("tulle-check", os.MFD_CLOEXEC))
    return "made one"


def try_pidfd() -> str:
    """Opens a process."""
    os.close(os.pidfd_open(os.getpid()))
    return "opened one"


def try_inotify() -> str:
    """Watches a directory."""
    from tulle.kit.inotify import Inotify

    watcher = Inotify()
    watcher.watch(Path("/"))
    watcher.close()
    return "watched a directory"


def try_metrics_port() -> str:
    """Binds the port where Prometheus scrapes."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", METRICS_PORT))
    return f"127.0.0.1:{METRICS_PORT} is free"


def try_attached_ports() -> str:
    """Dials a port of the box as another user would, round the mesh."""
    with socket.socket() as service, socket.socket() as caller:
        service.bind(("127.0.0.1", 0))
        service.listen()
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(_STRANGER)
            os.setuid(_STRANGER)
        who = f"uid {os.getuid()}"
        try:
            caller.settimeout(2.0)
            caller.connect(service.getsockname())
        except OSError as refused:
            return f"{who} was refused: {refused.strerror or refused}"
    raise Impossible(
        f"{who} dialled such a port; the mesh decides only about what comes by it",
        GUARD_PORTS,
    )


def try_directories() -> str:
    """Looks at where sockets and revisions go: ours alone, and not full."""
    from tulle.kit import paths, places

    seen = []
    for directory in (paths.runtime_parent(), paths.state_parent()):
        if directory.exists():
            try:
                places.refuse_unsafe(str(directory))
            except places.UnsafeDirectory as fault:
                remedy = "it must be yours, and writable to nobody else; or another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR"
                raise Impossible(str(fault), remedy) from None
        standing = directory
        while not standing.exists():
            standing = standing.parent
        if not os.access(standing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{standing} is not writable")
        free = os.statvfs(standing)
        if free.f_bavail * free.f_frsize < 16 << 20:
            raise OSError(errno.ENOSPC, f"less than 16 MB free at {standing}")
        seen.append(str(directory))
    return ", ".join(seen)


def try_attestation() -> str:
    """Asks whose a connection of ours is, and who listens where it goes."""
    from tulle.kit.netlink import open_sock_diag
    from tulle.kit.sock_diag import SockDiag, place_of

    with socket.socket() as service, socket.socket() as caller, open_sock_diag() as opened:
        service.bind(("127.0.0.1", 0))
        service.listen()
        caller.connect(service.getsockname())
        ours, theirs = place_of(*service.getsockname()), place_of(*caller.getsockname())
        kernel = SockDiag(opened)
        told, listens = kernel.connection(theirs, ours), kernel.listener(ours)
    if told is None or listens is None:
        raise OSError(errno.ENOENT, "the kernel does not tell whose a socket is")
    if (told.uid, listens.uid) != (os.getuid(), os.getuid()):
        raise OSError(errno.EPERM, f"the kernel calls this user uid {told.uid}")
    return f"a connection and a listener of uid {told.uid} were recognised" + (
        f", in the control group {told.cgroup}" if told.cgroup else ""
    )


def try_socket_groups() -> str:
    """Asks in which control group the process is that connected a unix socket: this one."""
    from tulle.kit.unix_peer import ask_cgroup, peer_uid

    near, far = socket.socketpair()
    with near, far:
        group, uid = ask_cgroup(near), peer_uid(near)
    if group < 0:
        raise OSError(errno.ENODATA, "the kernel tells no group of who dials a path")
    if uid != os.getuid():
        raise OSError(errno.EPERM, f"the kernel calls this user uid {uid}")
    return f"a caller of uid {uid} was recognised, in the control group {group}"


def try_cgroup() -> str:
    """Looks for the cgroup2 tree, and for a socket's group in it."""
    from tulle.supervisor import cgroups

    if not (tree := cgroups.tree()):
        raise OSError(errno.ENOENT, "no cgroup2 tree is mounted")
    if "control group" not in try_attestation():
        raise OSError(errno.ENODATA, f"the tree is at {tree}, but the kernel tells no socket's group")
    return f"the tree is at {tree}"


def try_containers() -> str:
    """Runs a container, by the first runtime that can."""
    import tempfile

    from tulle.supervisor.container_box import find_out
    from tulle.supervisor.steps import StepFailed, explain

    if os.getuid():
        raise Impossible("an ordinary user's podman cannot enter a pod, which holds one uid", "run Tulle as root")
    with tempfile.TemporaryDirectory(prefix="tulle-check-") as place:
        try:
            box = find_out(place)
        except StepFailed as fault:
            problem = explain(fault.step, fault.why)
            raise Impossible(f"{problem.step}: {problem.why}", problem.remedy) from None
    held = "held to limits of memory and processors" if box.limits else f"without limits ({box.why_no_limits})"
    return f"podman {box.version} ran one by {box.runtime}, {held}"


def try_compiled() -> str:
    """Looks whether the data plane is machine code."""
    import platform

    from tulle.cli.version import is_compiled

    if not is_compiled():
        raise OSError(0, f"interpreted by Python {platform.python_version()}")
    return f"compiled, Python {platform.python_version()}"
