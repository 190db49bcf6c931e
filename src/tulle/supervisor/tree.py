"""The file system as a pod sees it: the box's own, read-only, without what is not for it.

Covers: directories that an empty tmpfs hides. What the pod needs below a cover is bound back to its place, and the
symbolic links on the way are made anew. So /tmp and /run are private, Tulle's directories are empty, and a closed
directory such as /root, on the way to an interpreter, shows nothing but that interpreter.
"""

import contextlib
import os
import stat
from typing import NamedTuple

from tulle.kit import mounts
from tulle.supervisor.steps import StepFailed, step

_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_PRIVATE = ("/tmp", "/run", "/var/tmp", "/var/run")  # noqa: S108  (hidden here, not used)
_SETTINGS = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "asound")
"""Below /proc: read-only, since they are the box's, and a service that `user:` makes root owns them."""
_SECRETS = ("keys", "key-users", "kcore", "kmsg", "timer_list", "sched_debug", "kallsyms", "latency_stats")
"""Below /proc: empty, since they tell of the box and of other services."""
_FOREIGN = frozenset(("proc", "devtmpfs", "devpts", "mqueue", "debugfs", "tracefs", "securityfs", "configfs", "bpf"))
"""Kinds of file systems of the box's that show its processes and devices: hidden wherever they are mounted."""
_MEMORY = "size=10%,nr_inodes=100k"
"""At most of each private place, of the box's memory."""


class View(NamedTuple):
    """What one pod may see and write."""

    needed: list[str]
    """Paths that must be there even below a cover: working directory, interpreter, writable and protected paths."""
    writable: list[str]
    shared: list[str]
    """What any pod of the mesh may write: no link in there leads anywhere."""
    protected: list[str]
    """Read-only even inside writable paths; their parents cannot be renamed away."""
    code: list[str]
    """What Tulle runs from: read-only like `protected`, and not to be made writable by itself."""
    hidden: list[str]
    """Directories that are empty inside."""
    files: dict[str, str]
    """Path inside → the box's file that lies there instead, read-only."""
    uid: int
    gid: int
    groups: list[int]
    """Who the pod runs as."""


def build(view: View) -> None:
    """Makes this mount namespace the pod's. Only for pid 1 of a pod; raises StepFailed."""
    os.umask(0o022)
    os.chdir("/")
    writable, protected = [_real(p) for p in view.writable], [_real(p) for p in (*view.protected, *view.code)]
    _refuse_impossible(view, writable)
    places: list[int] = []
    with step("private-mounts"):
        mounts.keep_to_ourselves()
    with step("files"):
        files = {target: _copied_file(source) for target, source in view.files.items()}
    with step("proc"):
        foreign = _foreign_mounts()
        mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
        for path in foreign:
            mounts.mount("tmpfs", path, mounts.NOSUID | mounts.NODEV, "mode=0755,size=4k")
        _protect_proc()
    with step("tmpfs"):
        _cover_all(view)
    with step("dev"):
        _make_devices()
    with contextlib.suppress(OSError):  # keeps the box's own, read-only, where a new one is not allowed
        mounts.mount("sysfs", "/sys", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    with step("writable"):
        for path in writable:
            places.append(mounts.copy(path, through_links=False))
            mounts.attach_to_itself(places[-1], path)
    with step("read-only-tree"):
        mounts.seal("/")
        for path in ("/proc", "/dev/shm", "/dev/pts", *_private_places()):  # noqa: S108
            mounts.open_for_writing(path)
    with step("writable"):
        for place in places:
            _reopen(place)
        for path in protected:
            _protect(path, writable)
    with step("files"):
        for target, tree in files.items():
            mounts.attach(tree, target)


def closed_ancestor(path: str, uid: int, gids: list[int]) -> str:
    """The topmost directory on the way to `path` that this user may not walk through; empty when there is none."""
    at = "/"
    for part in path.strip("/").split("/")[:-1]:
        at = os.path.join(at, part)
        try:
            facts = os.stat(at)
        except OSError:
            return ""
        if not _may_enter(facts, uid, gids):
            return at
    return ""


def trail(path: str) -> tuple[dict[str, str], str]:
    """The symbolic links met on the way to a path, each with its target, and the real path."""
    links: dict[str, str] = {}
    at, todo = "/", [part for part in path.split("/") if part]
    while todo:
        part = todo.pop(0)
        if part in (".", ".."):
            at = at if part == "." else os.path.dirname(at)
            continue
        at = os.path.join(at, part)
        if os.path.islink(at) and at not in links:
            try:
                target = links[at] = os.readlink(at)
            except OSError:  # a link that nobody may follow, as some below /proc
                continue
            todo = [one for one in target.split("/") if one] + todo
            at = "/" if target.startswith("/") else os.path.dirname(at)
    return links, at


def topmost(paths: list[str]) -> list[str]:
    """Paths without those that lie below another of them."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path == one or is_below(path, one) for one in kept):
            kept.append(path)
    return kept


def is_below(path: str, directory: str) -> bool:
    """True for a path strictly below a directory."""
    return path != directory and path.startswith(directory.rstrip("/") + "/")


def _refuse_impossible(view: View, writable: list[str]) -> None:
    shared = [_real(one) for one in (*view.writable, *view.shared)]
    for said, path in zip(view.writable, writable, strict=True):
        for link in trail(said)[0]:
            if any(is_below(link, one) for one in shared):
                raise StepFailed("writable", f"{said} leads through {link}, a link that a service may have made")
        if not os.path.exists(path):
            raise StepFailed("writable", f"{said} does not exist")
        for hidden in view.hidden:
            if path == hidden or is_below(path, hidden) or is_below(hidden, path):
                raise StepFailed("writable", f"{said} holds, or lies in, {hidden}, which is Tulle's")
        for code in map(_real, view.code):
            if path == code or is_below(path, code):
                raise StepFailed("writable", f"{said} lies in {code}, from which Tulle itself runs")
    _refuse_links(view, writable)


def _refuse_links(view: View, writable: list[str]) -> None:
    """A link cannot be sealed: one on the way to what must stay as it is may not lie where the service could replace it."""
    protected = (*view.protected, *view.code)
    sealed = [_real(one) for one in protected]
    for path in protected:
        for link in trail(path)[0]:
            if any(is_below(link, one) for one in writable) and not any(is_below(link, one) for one in sealed):
                raise StepFailed("writable", f"{link} is a link on the way to {path}, which no service may replace")


def _cover_all(view: View) -> None:
    links: dict[str, str] = {}
    needed: list[str] = []
    for path in view.needed:
        found, real = trail(path)
        links.update(found)
        if os.path.exists(real) and not any(real == one or is_below(real, one) for one in view.hidden):
            needed.append(real)
    covers = dict.fromkeys(view.hidden, "mode=0755,size=64k")
    for path in (*needed, *links):
        if closed := closed_ancestor(path, view.uid, [view.gid, *view.groups]):
            covers.setdefault(closed, "mode=0755,size=1m")
    for path in _private_places():
        covers[path] = ("mode=0755," if path.endswith("/run") else "mode=1777,") + _MEMORY
    for path in sorted(covers, key=lambda p: (p.count("/"), p)):
        if os.path.isdir(path) and not os.path.islink(path):
            _cover(path, covers[path], topmost([p for p in needed if is_below(p, path)]), links)
    for path in _private_places():
        if path.endswith("/run"):
            os.chown(path, view.uid, view.gid)
            _make_directory(os.path.join(path, "lock"), 0o1777)


def _cover(path: str, options: str, keep: list[str], links: dict[str, str]) -> None:
    kept = [(one, mounts.copy(one, through_links=False), os.path.isdir(one)) for one in keep if os.path.exists(one)]
    mounts.mount("tmpfs", path, mounts.NOSUID | mounts.NODEV, options)
    for one, tree, is_directory in kept:
        os.makedirs(one if is_directory else os.path.dirname(one), mode=0o755, exist_ok=True)
        if not is_directory:
            os.close(os.open(one, os.O_CREAT | os.O_WRONLY, 0o600))
        mounts.attach(tree, one)
    for link, target in links.items():
        if is_below(link, path) and not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
            with contextlib.suppress(OSError):
                os.symlink(target, link)


def _private_places() -> list[str]:
    return [path for path in _PRIVATE if os.path.isdir(path) and not os.path.islink(path)]


def _foreign_mounts() -> list[str]:
    """Directories outside of /proc, /dev and /sys where the box shows its processes and devices, the innermost last."""
    found: list[str] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            path = before.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
            path = os.fsdecode(path.encode("latin-1"))
            ours = any(path == one or is_below(path, one) for one in ("/proc", "/dev", "/sys"))
            if after.split(" ")[0] in _FOREIGN and not ours and os.path.isdir(path):
                found.append(path)
    return sorted(found)


def _protect_proc() -> None:
    for name in _SETTINGS:
        if os.path.exists(path := f"/proc/{name}"):
            mounts.bind_to_itself(path)
    for name in _SECRETS:
        if os.path.exists(path := f"/proc/{name}"):
            mounts.attach(mounts.copy("/dev/null"), path)


def _make_devices() -> None:
    nodes = {name: mounts.copy(f"/dev/{name}") for name in _DEVICES}
    mounts.mount("tmpfs", "/dev", mounts.NOSUID | mounts.NOEXEC, "mode=0755,size=64k")
    for name, tree in nodes.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o600))
        mounts.attach(tree, f"/dev/{name}")
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm"):
        _make_directory(f"/dev/{name}", 0o755)
    mounts.mount("devpts", "/dev/pts", mounts.NOSUID | mounts.NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    mounts.mount("tmpfs", "/dev/shm", mounts.NOSUID | mounts.NODEV, f"mode=1777,{_MEMORY}")  # noqa: S108


def _reopen(place: int) -> None:
    try:
        mounts.open_tree_for_writing(place, below=True)
    except PermissionError:  # something mounted below is read-only on the box, and stays so
        mounts.open_tree_for_writing(place)
    os.close(place)


def _protect(path: str, writable: list[str]) -> None:
    """Seals a path inside a writable one. A mount point cannot be renamed, so every directory on the way is one."""
    for root in writable:
        if not (path == root or is_below(path, root)) or not os.path.exists(path):
            continue
        at = root
        for part in os.path.relpath(path, root).split("/")[:-1]:
            at = os.path.join(at, part)
            mounts.bind_to_itself(at)
        mounts.bind_to_itself(path)
        mounts.seal(path)


def _copied_file(source: str) -> int:
    tree = mounts.copy(source)
    mounts.seal_tree(tree)
    return tree


def _real(path: str) -> str:
    return trail(path)[1]


def _make_directory(path: str, mode: int) -> None:
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)


def _may_enter(facts: os.stat_result, uid: int, gids: list[int]) -> bool:
    if facts.st_uid == uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid in gids:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)
