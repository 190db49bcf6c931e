"""The steps that make a pod, what to do where one fails, and how a failure travels between processes."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple


class Problem(NamedTuple):
    """Why this box cannot make a pod."""

    step: str
    """A key of REMEDIES."""
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.step}: {self.why}. {self.remedy}"


class StepFailed(Exception):
    """A step of making a pod that this box refused."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


REMEDIES = {
    "user-namespace": "Allow unprivileged user namespaces (kernel.unprivileged_userns_clone=1, "
    "user.max_user_namespaces>0; on Ubuntu 24.04 kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor "
    "profile), or run as root",
    "namespaces": "Run as root or allow unprivileged user namespaces with their capabilities; in a container, "
    "give it CAP_SYS_ADMIN or run Tulle outside",
    "loopback": "Allow CAP_NET_ADMIN in network namespaces that Tulle makes (AppArmor, SELinux)",
    "ports": "Mount /proc/sys writable; in a container, run it with an unmasked /proc",
    "redirect": "Load the kernel's nftables parts: modprobe -a nf_tables nft_chain_nat nft_redir",
    "listener": "Free descriptors or memory",
    "init": "Raise the limit of processes, or of open files",
    "private-mounts": "Allow CAP_SYS_ADMIN in mount namespaces that Tulle makes (AppArmor, SELinux)",
    "files": "Keep /etc/hosts a file, and the runtime directory on a local file system",
    "proc": "Unmask /proc: containers that hide parts of it (Docker's default) let nobody mount it anew",
    "tmpfs": "Use a kernel with tmpfs",
    "dev": "Use a /dev with null, zero, full, random and urandom, not mounted nodev",
    "read-only-tree": "Use Linux 5.12 or newer",
    "writable": "Name existing paths, outside of Tulle's own directories, under writable",
    "owner": "Give the path to the service's uid (chown, or a group and chmod g+w), or run the service as the path's owner "
    "(user:); the uid stays the same for the same service. Tulle changes no owner of what it did not make",
    "user": "Name a user of this box; user needs root",
    "capabilities": "Lift what keeps this process from giving up its own capabilities",
    "limits": "Run Tulle outside of a sandbox that forbids setrlimit",
    "podman": "Containers need podman (4.0 or newer), and root: apt install podman crun; see `tulle check`",
    "runtime": "Install crun or runc in a version that knows this box's cgroups; see `tulle check`",
    "image": "Bring it with `podman pull`, `podman build` or `podman load`, as root; or say `pull: missing`",
    "pull": "See what the registry says; or bring the image with `podman load`, and leave `pull` out",
    "mounts": "Name existing paths of the services' own, or podman volumes, under mounts",
    "container": "See what podman says; `tulle logs` has more",
    "filter": "Use a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
}
"""What a person can do, per step."""


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Names the step that a refusal of the system happened in."""
    try:
        yield
    except OSError as fault:
        where = f" ({fault.filename})" if fault.filename else ""
        raise StepFailed(name, f"{fault.strerror or fault}{where}") from fault


def explain(failed_step: str, why: str) -> Problem:
    """A failure with its remedy."""
    return Problem(failed_step, why, REMEDIES.get(failed_step, ""))
