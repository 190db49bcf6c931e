"""Why the user that this process has become cannot run or write something, and what to do about it."""

import errno
import os

from tulle.kit.users import user_name


def why_not_run(fault: OSError, argv: list[str], cwd: str, path: str) -> str:
    """A failed start in words: the program, and a closed directory on the way to it where that is the cause."""
    where = str(fault.filename or argv[0])
    said = f"cannot run {where}: {fault.strerror}"
    if fault.errno == errno.EACCES:
        if closed := closed_to_us(os.path.join(cwd, where)):
            what = "its working directory lies in" if where == cwd else "it lies in"
            return f"{said}; {what} {closed}, which is closed to {_us()}: {_remedy(closed)}"
    elif fault.errno == errno.ENOENT and "/" not in argv[0]:
        shut = dict.fromkeys(
            one for directory in path.split(":") if (one := closed_to_us(os.path.join(cwd, directory)))
        )
        if shut:
            first = next(iter(shut))
            return f"{said} that is open to {_us()}, and {', '.join(shut)} is not: {_remedy(first)}"
    return said


def why_not_write(path: str) -> str:
    """Why a path that is declared writable is not, for this user; empty when it, or something directly in it, is."""
    if os.access(path, os.W_OK):
        return ""
    try:
        with os.scandir(path) as entries:
            if any(os.access(entry.path, os.W_OK) for entry in entries):
                return ""
    except OSError:
        pass  # a file, or closed: judged as it is
    facts = os.stat(path)
    owner = user_name(facts.st_uid) or f"uid {facts.st_uid}"
    return f"{path} belongs to {owner} (mode {facts.st_mode & 0o7777:04o}) and {_us()} may not write there"


def closed_to_us(path: str) -> str:
    """The topmost directory on the way to a path, itself included, that this user may not enter; empty when none is."""
    at = "/"
    for part in os.path.normpath(path).strip("/").split("/"):
        at = os.path.join(at, part)
        if os.path.isdir(at) and not os.access(at, os.X_OK):
            return at
    return ""


def _remedy(closed: str) -> str:
    return f"open it (chmod o+x {closed}), move what is needed elsewhere, or say `user:` for one that may enter"


def _us() -> str:
    return f"uid {os.getuid()}"
