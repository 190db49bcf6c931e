"""A pod's command: its environment, and what it needs of the file system."""

import os
import sys

from tulle.supervisor.tree import is_below, trail
from tulle.supervisor.user import Identity
from tulle.wire.plan import PodSpec

_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOO_WIDE = frozenset(("/", "/root", "/home", "/usr", "/opt", "/srv", "/var", "/etc", "/tmp", "/run"))  # noqa: S108
"""Never shown whole because a program lies in their bin."""

_PROGRAMS = ("bin", "sbin", "shims")


def environment_of(spec: PodSpec, who: Identity) -> dict[str, str]:
    """A clean environment: PATH, HOME, USER, LANG, TZ, and what is declared.

    PATH is the supervisor's, with the directory of the interpreter that runs Tulle last, so that `python` is found.
    """
    path = os.environ.get("PATH") or _USUAL_PATH
    env = {
        "PATH": f"{path}:{os.path.dirname(sys.executable)}",
        "HOME": who.home,
        "USER": who.name,
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
    if zone := os.environ.get("TZ"):
        env["TZ"] = zone
    return env | spec.env


def needed_for(argv: list[str], path: str, cwd: str) -> list[str]:
    """Directories that a program needs to start: its own, along every symbolic link, and its prefix.

    A program in `X/bin` has its libraries in `X`, unless X is a home or as wide as /usr; so has one in `X/shims` (pyenv, asdf).
    """
    program = _find(argv[0], path, cwd)
    if not program:
        return []
    needed: list[str] = []
    for one in (program, *_resolved_links(program)):
        directory = os.path.dirname(one)
        prefix = os.path.dirname(directory)
        is_own = os.path.basename(directory) in _PROGRAMS and prefix not in _TOO_WIDE and not _is_home(prefix)
        needed.append(prefix if is_own else one)
        needed += _base_prefix(prefix)
    return needed


def _find(program: str, path: str, cwd: str) -> str:
    if "/" in program:
        return os.path.normpath(os.path.join(cwd, program))
    for directory in path.split(":"):
        candidate = os.path.join(cwd, directory, program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return ""


def _resolved_links(program: str) -> list[str]:
    """Every name that the program's own chain of links goes by, the real one last."""
    names: list[str] = []
    at = program
    while os.path.islink(at) and at not in names:
        at = os.path.normpath(os.path.join(os.path.dirname(at), os.readlink(at)))
        names.append(at)
    real = trail(program)[1]
    return names if real in names else [*names, real]


def _base_prefix(prefix: str) -> list[str]:
    """Where a Python environment's interpreter comes from: `home` in its pyvenv.cfg."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            home = next((line.partition("=")[2].strip() for line in file if line.startswith("home")), "")
    except OSError:
        return []
    base = os.path.dirname(home)
    return [base] if home and base not in _TOO_WIDE and not _is_home(base) else []


def _is_home(directory: str) -> bool:
    return directory == os.path.expanduser("~") or (is_below(directory, "/home") and directory.count("/") == 2)
