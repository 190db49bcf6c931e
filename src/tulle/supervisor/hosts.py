"""The few files of /etc that a pod sees instead of the box's. Rewritten in place, so that running pods see the change."""

import contextlib
import os

from tulle.supervisor.user import Identity, account_files, is_known
from tulle.wire.plan import PodSpec

_NSSWITCH = "".join(
    f"{one}: files\n" for one in ("passwd", "group", "shadow", "hosts", "networks", "protocols", "services")
)
_EMPTY_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"


class HostFiles:
    """Keeps them below the runtime directory."""

    def __init__(self, runtime: str) -> None:
        self._directory = f"{runtime}/etc"
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        self._nsswitch = self._write("nsswitch.conf", _NSSWITCH)
        self._resolv = self._write("resolv.conf", "")

    def write_hosts(self, hosts: dict[str, str]) -> None:
        """Text of /etc/hosts for each namespace of the mesh; the others keep theirs."""
        for namespace, text in hosts.items():
            self._write(f"hosts.{namespace}", text)

    def of_container(self, spec: PodSpec) -> dict[str, str]:
        """Path inside → path on the box, whatever the image has there."""
        return {
            "/etc/hosts": self._hosts(spec),
            "/etc/nsswitch.conf": self._nsswitch,
            "/etc/resolv.conf": self._resolv,
        }

    def of(self, spec: PodSpec, who: Identity) -> dict[str, str]:
        """Path inside → path on the box."""
        files = {"/etc/hosts": self._hosts(spec)}
        if os.path.isfile("/etc/nsswitch.conf"):
            files["/etc/nsswitch.conf"] = self._nsswitch
        if os.path.isfile("/etc/resolv.conf") and not os.path.islink("/etc/resolv.conf"):
            files["/etc/resolv.conf"] = self._resolv
        if who.changes and not is_known(who):
            passwd, group = account_files(who)
            files["/etc/passwd"] = self._write(f"passwd.{who.uid}", passwd)
            files["/etc/group"] = self._write(f"group.{who.gid}", group)
        return files

    def _hosts(self, spec: PodSpec) -> str:
        hosts = f"{self._directory}/hosts.{spec.namespace}"
        if not os.path.exists(hosts):
            rewrite(hosts, _EMPTY_HOSTS.encode())
        return hosts

    def _write(self, name: str, text: str) -> str:
        path = f"{self._directory}/{name}"
        rewrite(path, text.encode("utf-8", "surrogateescape"))
        return path


def rewrite(path: str, text: bytes) -> None:
    """Replaces a file's text on the same inode; a reader meanwhile sees whole lines, old or new."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        before = os.fstat(descriptor).st_size
        with contextlib.suppress(OSError):
            if os.pread(descriptor, before + 1, 0) == text:
                return
        os.pwrite(descriptor, text + b"\n" * (before - len(text)), 0)
        os.ftruncate(descriptor, len(text))
    finally:
        os.close(descriptor)
