"""Whose systemd runs a mesh: the box's, as root, or an ordinary user's own."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tulle.cli.supervisors import mesh_of
from tulle.cli.unit_file import noted, unit_name
from tulle.cli.words import Failure
from tulle.kit import places
from tulle.kit.users import user_name

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """One program, to its end; what is not there has failed."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as fault:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {fault.strerror}")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where what is installed lies, and how its systemd is asked."""

    is_system: bool
    units: Path
    manifests: Path
    """Holds one directory per mesh."""
    states: tuple[Path, ...]
    """Each holds one directory per mesh, of state, logs or sockets."""
    lingering: Path
    """Holds a file for each user whose systemd runs without a login."""
    run: Run

    @classmethod
    def ours(cls, run: Run = run) -> "Scope":
        """Root's is the box."""
        is_system = os.getuid() == 0
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
        logs = [Path(said)] if (said := places.log_parent()) else []
        return cls(
            is_system=is_system,
            units=Path("/etc/systemd/system") if is_system else config / "systemd/user",
            manifests=Path(places.config_parent()),
            states=(Path(places.state_parent()), *logs, Path(places.runtime_parent())),
            lingering=Path("/var/lib/systemd/linger"),
            run=run,
        )

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command, as a person would write it."""
        return ("systemctl",) if self.is_system else ("systemctl", "--user")

    def unit(self, mesh: str) -> Path:
        """The unit file of a mesh."""
        return self.units / unit_name(mesh)

    def noted(self, mesh: str) -> Mapping[str, str]:
        """What its installation noted; empty where it is not installed."""
        try:
            return noted(self.unit(mesh).read_text())
        except OSError:
            return {}

    def installed(self) -> list[str]:
        """Meshes of which there is a unit or a directory of manifests, by name."""
        units = [mesh for path in _inside(self.units) if (mesh := mesh_of(path.name)) and self.noted(mesh)]
        return sorted({*units, *(path.name for path in _inside(self.manifests) if path.is_dir())})

    @property
    def lingers(self) -> bool:
        """Whether this user's systemd runs without a login; the box's always does."""
        return self.is_system or (self.lingering / user_name(os.getuid())).exists()

    @property
    def is_booted(self) -> bool:
        """Whether this systemd runs."""
        if self.is_system:
            return Path("/run/systemd/system").is_dir()
        return self.run((*self.systemctl, "show-environment")).returncode == 0

    def ask(self, *words: str, code: str = "systemd-refused") -> str:
        """What `systemctl` answers. Ends with its words when it fails."""
        done = self.run((*self.systemctl, *words))
        if done.returncode:
            raise Failure(
                code, f"`{' '.join((*self.systemctl, *words))}` failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout.strip()


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
