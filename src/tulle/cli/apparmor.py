"""The AppArmor profile that lets ordinary users run pods where the distribution keeps user namespaces from them.

Ubuntu since 23.10 grants user namespaces to programs with a profile that names them. AppArmor knows a script by its own
path, and what a script executes keeps its profile: so `tulle` is named, not the interpreter, which would name every
program written in Python.
"""

import re
import sys
from pathlib import Path

from tulle.cli.scope import Run

RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
PROFILES = Path("/etc/apparmor.d")


def is_restricted(switch: Path = RESTRICTION) -> bool:
    """Whether this kernel keeps ordinary users from user namespaces unless a profile grants them."""
    try:
        return switch.read_text().strip() == "1"
    except OSError:
        return False


def program() -> Path:
    """The `tulle` that is installed beside this interpreter; links to it lead here."""
    return Path(sys.executable).parent.resolve() / "tulle"


def profile_file(tulle: Path) -> Path:
    """Named for the program, as profiles are: each installed Tulle has its own."""
    return PROFILES / f"tulle.{re.sub('[^A-Za-z0-9._-]+', '.', str(tulle)).strip('.')}"


def profile(tulle: Path) -> str:
    """The profile's text: unconfined, but known by name."""
    path = re.sub(r'([\\"*?\[\]{}^@])', r"\\\1", str(tulle))
    name = profile_file(tulle).name
    return f"""\
# Written by `tulle install`. Without it no ordinary user can run pods here; it confines nothing.
abi <abi/4.0>,
include <tunables/global>

profile {name} "{path}" flags=(unconfined) {{
  userns,

  include if exists <local/{name}>
}}
"""


def unload(file: Path, run: Run) -> None:
    """Makes the kernel forget it, as far as it knows it."""
    run(("apparmor_parser", "--remove", str(file)))
