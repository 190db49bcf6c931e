"""What this box can enforce, found out by doing it: what each attempt is for, and what helps where it fails."""

import errno
import os

from tulle.cli import attempts
from tulle.cli.probing import Finding, Probe
from tulle.wire.plan import METRICS_PORT


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


PROBES = (
    Probe("kernel", "everything", attempts.try_kernel, "Linux 5.12 or newer"),
    Probe(
        "user-namespace",
        "pods without root",
        attempts.try_user_namespace,
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
        attempts.try_namespaces,
        "a kernel with namespaces; or root",
        remedies={errno.EPERM: "user namespaces (see above), root, or a container with CAP_SYS_ADMIN"},
    ),
    Probe(
        "redirect",
        "services dial names, and listen on any address at any port",
        attempts.try_redirect,
        "modprobe -a nf_tables nft_chain_nat nft_redir. Without them pods dial by addresses (the next row): a service"
        " cannot listen on 0.0.0.0 or [::] at a port that a service of the mesh has, but on 127.0.0.1",
        needed=False,
    ),
    Probe(
        "addresses",
        "services dial names where there is no redirect",
        attempts.try_addresses,
        "an unmasked, writable /proc/sys; in a container, run Tulle outside",
        needed=False,
    ),
    Probe("read-only-mounts", "services cannot write the box", attempts.try_mounts, "Linux 5.12 with mount_setattr"),
    Probe(
        "seccomp",
        "services cannot reach what namespaces leave open",
        attempts.try_seccomp,
        "a kernel with CONFIG_SECCOMP_FILTER",
    ),
    Probe("pod", "all of it together", attempts.try_pod, "see the rows above"),
    Probe(
        "attestation",
        "services that run here already are recognised (`attach:`)",
        attempts.try_attestation,
        "modprobe -a inet_diag tcp_diag, or a kernel with CONFIG_INET_TCP_DIAG; run such services in pods until then",
        needed=False,
    ),
    Probe(
        "cgroup",
        "they are recognised by unit and control group, not by user alone",
        attempts.try_cgroup,
        "mount -t cgroup2 none /sys/fs/cgroup, or a kernel of Linux 5.8 or newer with CONFIG_SOCK_CGROUP_DATA; attach by `uid` until then",
        needed=False,
    ),
    Probe(
        "socket-groups",
        "the same where they dial the forward proxy's path",
        attempts.try_socket_groups,
        "Linux 6.13 or newer; until then they dial the forward proxy's address, or are attached by `uid`",
        needed=False,
    ),
    Probe(
        "attached-ports",
        "others cannot dial an attached service's own port",
        attempts.try_attached_ports,
        attempts.GUARD_PORTS,
        needed=False,
    ),
    Probe(
        "containers",
        "services from images (`container:`)",
        attempts.try_containers,
        "podman 4.0 or newer with crun or runc, and root: apt install podman crun",
        needed=False,
    ),
    Probe(
        "memfd",
        "the proxy serves at once after a restart",
        attempts.try_memfd,
        "more file descriptors: ulimit -n",
        remedies={
            errno.ENOSYS: "Linux 3.17 or a sandbox that allows memfd_create",
            errno.EPERM: "a sandbox around tulle forbids it: loosen its seccomp profile",
        },
    ),
    Probe("pidfd", "processes are ended without mistakes", attempts.try_pidfd, "Linux 5.3"),
    Probe(
        "inotify",
        "manifests are followed as they are saved",
        attempts.try_inotify,
        "more of them: sysctl fs.inotify.max_user_instances",
    ),
    Probe(
        "directories",
        "sockets and revisions",
        attempts.try_directories,
        "another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR",
        remedies={errno.ENOSPC: "make room there; or another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR"},
    ),
    Probe(
        "metrics-port",
        f"Prometheus scrapes 127.0.0.1:{METRICS_PORT}",
        attempts.try_metrics_port,
        f"a mesh that runs here holds it, or something else does: ss -ltnp sport = :{METRICS_PORT}",
        needed=False,
    ),
    Probe(
        "compiled",
        "the fast data plane",
        attempts.try_compiled,
        "a compiled wheel, or a C compiler when installing",
        needed=False,
    ),
)
