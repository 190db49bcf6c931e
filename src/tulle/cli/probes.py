"""What this box can enforce, found out by doing it."""

import errno
import os
import socket
from pathlib import Path

from tulle.cli.probing import Finding, Impossible, Probe
from tulle.wire.plan import LISTENER_PORT, METRICS_PORT, VIRTUAL_NETWORK


def findings() -> list[Finding]:
    """Every probe, in the order in which one builds on the other."""
    return [probe.run() for probe in PROBES]


def lacking_for_containers() -> Finding | None:
    """What keeps this box from running containers."""
    found = next(probe for probe in PROBES if probe.name == "containers").run()
    return None if found.possible else found


def lacking() -> list[Finding]:
    """What keeps this box from running pods."""
    return [one for probe in PROBES if probe.needed and not (one := probe.run()).possible]


def _pod() -> str:
    from tulle.supervisor.probe import probe_pods

    if problem := probe_pods():
        raise Impossible(f"{problem.step}: {problem.why}", problem.remedy)
    return "made one and ran a program in it"


def _kernel() -> str:
    release = os.uname().release
    parts = release.replace("-", ".").split(".")
    if (int(parts[0]), int(parts[1])) < (5, 12):
        raise OSError(errno.ENOSYS, f"Linux {release}")
    return f"Linux {release}"


def _user_namespace() -> str:
    from tulle.kit.namespaces import enter_user_namespace

    enter_user_namespace()
    return "made one" if os.getuid() else "made one; root needs none"


def _enter_pod_namespaces() -> None:
    from tulle.kit import namespaces

    if os.getuid():
        namespaces.enter_user_namespace()
    namespaces.unshare(namespaces.NEWNET | namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWPID)


def _namespaces() -> str:
    _enter_pod_namespaces()
    return "network, mount, PID, IPC and UTS"


def _redirect() -> str:
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


def _addresses() -> str:
    from tulle.kit import netlink
    from tulle.supervisor.addresses import open_listener

    _enter_pod_namespaces()
    netlink.bring_loopback_up()
    netlink.free_low_ports()
    with open_listener("127.80.1.2:80"), socket.socket() as caller:
        caller.settimeout(2.0)
        caller.connect(("127.80.1.2", 80))
    return "a connection to 127.80.1.2:80 arrived at a listener there"


def _mounts() -> str:
    from tulle.kit import mounts

    _enter_pod_namespaces()
    mounts.keep_to_ourselves()
    mounts.bind_to_itself("/usr")
    mounts.seal("/usr")
    return "made a tree read-only"


def _seccomp() -> str:
    from tulle.kit import privileges, seccomp

    privileges.refuse_new_privileges()
    seccomp.confine()
    return "a filter holds"


def _memfd() -> str:
    os.close(os.memfd_create("tulle-check", os.MFD_CLOEXEC))
    return "made one"


def _pidfd() -> str:
    os.close(os.pidfd_open(os.getpid()))
    return "opened one"


def _inotify() -> str:
    from tulle.kit.inotify import Inotify

    watcher = Inotify()
    watcher.watch(Path("/"))
    watcher.close()
    return "watched a directory"


def _metrics_port() -> str:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", METRICS_PORT))
    return f"127.0.0.1:{METRICS_PORT} is free"


def _attached_ports() -> str:
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
        _GUARD_PORTS,
    )


_GUARD_PORTS = "run the service in a pod, or let a firewall keep all but the proxy from its port (nftables: meta skuid)"
_STRANGER = 65533
"""A uid that no service of the box has."""


def _directories() -> str:
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


def _attestation() -> str:
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


def _cgroup() -> str:
    from tulle.supervisor import cgroups

    if not (tree := cgroups.tree()):
        raise OSError(errno.ENOENT, "no cgroup2 tree is mounted")
    if "control group" not in _attestation():
        raise OSError(errno.ENODATA, f"the tree is at {tree}, but the kernel tells no socket's group")
    return f"the tree is at {tree}"


def _containers() -> str:
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


def _compiled() -> str:
    import platform

    from tulle.cli.version import is_compiled

    if not is_compiled():
        raise OSError(0, f"interpreted by Python {platform.python_version()}")
    return f"compiled, Python {platform.python_version()}"


PROBES = (
    Probe("kernel", "everything", _kernel, "Linux 5.12 or newer"),
    Probe(
        "user-namespace",
        "pods without root",
        _user_namespace,
        "allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1,"
        " kernel.apparmor_restrict_unprivileged_userns=0 (or the profile that `tulle install` names); or run as root",
        needed=os.getuid() != 0,
        remedies={
            errno.ENOSPC: "sysctl user.max_user_namespaces=15000; or run as root",
            errno.EAGAIN: "more processes for this user: ulimit -u",
        },
    ),
    Probe(
        "namespaces",
        "pods: services cannot see one another",
        _namespaces,
        "a kernel with namespaces; or root",
        remedies={errno.EPERM: "user namespaces (see above), root, or a container with CAP_SYS_ADMIN"},
    ),
    Probe(
        "redirect",
        "services dial names, and listen on any address at any port",
        _redirect,
        "modprobe -a nf_tables nft_chain_nat nft_redir. Without them pods dial by addresses (the next row): a service"
        " cannot listen on 0.0.0.0 or [::] at a port that a service of the mesh has, but on 127.0.0.1",
        needed=False,
    ),
    Probe(
        "addresses",
        "services dial names where there is no redirect",
        _addresses,
        "an unmasked, writable /proc/sys; in a container, run Tulle outside",
        needed=False,
    ),
    Probe("read-only-mounts", "services cannot write the box", _mounts, "Linux 5.12 with mount_setattr"),
    Probe(
        "seccomp", "services cannot reach what namespaces leave open", _seccomp, "a kernel with CONFIG_SECCOMP_FILTER"
    ),
    Probe("pod", "all of it together", _pod, "see the rows above"),
    Probe(
        "attestation",
        "services that run here already are recognised (`attach:`)",
        _attestation,
        "modprobe -a inet_diag tcp_diag, or a kernel with CONFIG_INET_TCP_DIAG; run such services in pods until then",
        needed=False,
    ),
    Probe(
        "cgroup",
        "they are recognised by unit and control group, not by user alone",
        _cgroup,
        "mount -t cgroup2 none /sys/fs/cgroup, or a kernel of Linux 5.8 or newer with CONFIG_SOCK_CGROUP_DATA; attach by `uid` until then",
        needed=False,
    ),
    Probe(
        "attached-ports",
        "others cannot dial an attached service's own port",
        _attached_ports,
        _GUARD_PORTS,
        needed=False,
    ),
    Probe(
        "containers",
        "services from images (`container:`)",
        _containers,
        "podman 4.0 or newer with crun or runc, and root: apt install podman crun",
        needed=False,
    ),
    Probe(
        "memfd",
        "the proxy serves at once after a restart",
        _memfd,
        "more file descriptors: ulimit -n",
        remedies={
            errno.ENOSYS: "Linux 3.17 or a sandbox that allows memfd_create",
            errno.EPERM: "a sandbox around tulle forbids it: loosen its seccomp profile",
        },
    ),
    Probe("pidfd", "processes are ended without mistakes", _pidfd, "Linux 5.3"),
    Probe(
        "inotify",
        "manifests are followed as they are saved",
        _inotify,
        "more of them: sysctl fs.inotify.max_user_instances",
    ),
    Probe(
        "directories",
        "sockets and revisions",
        _directories,
        "another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR",
        remedies={errno.ENOSPC: "make room there; or another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR"},
    ),
    Probe(
        "metrics-port",
        f"Prometheus scrapes 127.0.0.1:{METRICS_PORT}",
        _metrics_port,
        f"a mesh that runs here holds it, or something else does: ss -ltnp sport = :{METRICS_PORT}",
        needed=False,
    ),
    Probe(
        "compiled", "the fast data plane", _compiled, "a compiled wheel, or a C compiler when installing", needed=False
    ),
)
