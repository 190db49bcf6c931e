"""As whom a pod runs: under root a uid of its own, kept for good; otherwise the user who started Tulle."""

import contextlib
import os
import pwd
from typing import NamedTuple

from tulle.kit.users import user_name
from tulle.supervisor.steps import StepFailed

PROXY_UID = 70000
FIRST_UID, LAST_UID = 70001, 99999
"""Between what distributions, systemd's dynamic users (61184–65519) and containers (from 100000) take for themselves."""


class Identity(NamedTuple):
    """The user of a pod on this box."""

    uid: int
    gid: int
    groups: list[int]
    home: str
    name: str
    changes: bool
    """False: nothing to change to, as an ordinary user."""


class UidTable:
    """One uid per pod name, by hash, the next free one on collision; remembered, since files belong to them.

    What of the file is damaged is left out, and a full disk is no reason to start nothing: by the hash alone nearly every
    name gets its uid again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._uids: dict[str, int] = {}
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, number = line.rstrip("\n").rpartition(" ")
                if not name.isprintable() or not name or not (number.isascii() and number.isdecimal()):
                    continue
                uid = int(number[:9])
                if FIRST_UID <= uid <= LAST_UID and uid not in self._uids.values():
                    self._uids[name] = uid

    def uid_of(self, name: str) -> int:
        """The same answer for the same name, always."""
        if name not in self._uids:
            self._uids[name] = choose_uid(name, frozenset(self._uids.values()))
            with contextlib.suppress(OSError):
                self._store()
        return self._uids[name]

    def _store(self) -> None:
        fresh = f"{self._path}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            file.writelines(f"{name} {uid}\n" for name, uid in self._uids.items())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)


def choose_uid(name: str, taken: frozenset[int]) -> int:
    """A uid in the pods' range by the name's hash; the next one that is free."""
    count = LAST_UID - FIRST_UID + 1
    start = _crc32(name.encode()) % count
    for offset in range(count):
        uid = FIRST_UID + (start + offset) % count
        if uid not in taken:
            return uid
    raise StepFailed("user", "every uid of the pods' range is taken")


def _crc32(octets: bytes) -> int:
    """As zlib's, whose library would be a third of a megabyte in each of Tulle's processes here."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def identify(pod: str, user: str, table: UidTable | None) -> Identity:
    """Who a pod runs as; `table` is None for an ordinary user. Raises StepFailed."""
    if table is None:
        own = user_name(os.getuid()) or str(os.getuid())
        if user and user not in (str(os.getuid()), own):
            raise StepFailed("user", f"this user may not start a process as {user}")
        return Identity(os.getuid(), os.getgid(), [], os.environ.get("HOME", "/"), own, changes=False)
    if not user:
        uid = table.uid_of(pod)
        return Identity(uid, uid, [], "/tmp", f"tulle-{uid}", changes=True)  # noqa: S108  (private to the pod)
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise StepFailed("user", f"no user {user} on this box") from None
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Identity(entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_name, changes=True)


def account_files(who: Identity) -> tuple[str, str]:
    """Text of /etc/passwd and /etc/group in which the pod's own user has a name."""
    return (
        _with_line("/etc/passwd", f"{who.name}:x:{who.uid}:{who.gid}::{who.home}:/usr/sbin/nologin"),
        _with_line("/etc/group", f"{who.name}:x:{who.gid}:"),
    )


def is_known(who: Identity) -> bool:
    """True when the box's files have a name for this user and group: what a pod sees of them, and no service is asked."""
    return _has_number("/etc/passwd", who.uid) and _has_number("/etc/group", who.gid)


def _has_number(path: str, number: int) -> bool:
    """In the third field, where both files have theirs."""
    return any(line.split(":")[2:3] == [str(number)] for line in _text(path).splitlines())


def _with_line(path: str, line: str) -> str:
    return f"{_text(path).rstrip()}\n{line}\n".lstrip("\n")


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
