"""What an installation consists of: manifests, unit, profile, and what is run for them. Decided before anything is written."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tulle.cli import apparmor
from tulle.cli.scope import Scope
from tulle.cli.unit_file import MeshUnit, unit_name
from tulle.cli.words import Failure
from tulle.kit.users import user_name
from tulle.manifest import home_of
from tulle.manifest.read import SUFFIXES


@dataclass(frozen=True, slots=True)
class Installation:
    """All that an installation writes, removes and runs."""

    scope: Scope
    unit: MeshUnit
    files: Mapping[Path, str]
    """Manifests and unit, by where they go."""
    stale: list[Path] = field(default_factory=list)
    """Manifests of an earlier installation."""
    profile: Path | None = None
    """Of AppArmor, among the files."""

    @property
    def changed(self) -> list[Path]:
        """Files that are not there as they shall be."""
        return [path for path, text in self.files.items() if _read(path) != text]


def planned(
    scope: Scope,
    mesh: str,
    sources: Mapping[str, str],
    home: Path,
    stop_seconds: float,
    *,
    is_restricted: bool = False,
) -> Installation:
    """What this mesh, by these texts, needs in this scope; a profile where ordinary users are restricted and root can lift that."""
    _refuse_unwritable(str(home), *_environment(scope).values())
    directory = scope.manifests / mesh
    files = _copies(directory, sources)
    stale = [path for path in _manifests_in(directory) if path not in files]
    lingers = not scope.lingers or scope.noted(mesh).get("Linger") == "yes"
    unit = MeshUnit(
        mesh=mesh,
        command=(sys.executable, "-P", "-m", "tulle.supervisor")
        if scope.is_system
        else (str(apparmor.program()), "supervise"),
        manifests=str(directory),
        home=str(home),
        stop_seconds=stop_seconds,
        environment=_environment(scope),
        is_system=scope.is_system,
        has_lingered=lingers,
    )
    files[scope.unit(mesh)] = unit.text
    profile = None
    if scope.is_system and is_restricted:
        profile = apparmor.profile_file(apparmor.program())
        files[profile] = apparmor.profile(apparmor.program())
    return Installation(scope, unit, files, stale, profile)


def commands(plan: Installation, *, is_started: bool) -> list[tuple[str, ...]]:
    """What is run when the files are there."""
    unit, systemctl = unit_name(plan.unit.mesh), plan.scope.systemctl
    commands: list[tuple[str, ...]] = []
    if plan.profile in plan.changed:
        commands.append(("apparmor_parser", "--replace", str(plan.profile)))
    if not plan.scope.lingers:
        commands.append(("loginctl", "enable-linger"))
    if not is_started:
        return [*commands, (*systemctl, "enable", unit)]
    has_other_unit = plan.scope.unit(plan.unit.mesh) in plan.changed
    verb = "restart" if has_other_unit and is_active(plan.scope, plan.unit.mesh) else "start"
    return [*commands, (*systemctl, "daemon-reload"), (*systemctl, "enable", unit), (*systemctl, verb, unit)]


def is_active(scope: Scope, mesh: str) -> bool:
    """Whether systemd runs it."""
    return scope.run((*scope.systemctl, "is-active", "--quiet", scope.unit(mesh).name)).returncode == 0


def this_user() -> str:
    """By name."""
    return user_name(os.getuid())


def home_for(scope: Scope, mesh: str, paths: tuple[Path, ...]) -> Path:
    """Beside the manifests; where these are the installed copies, what was said when they were installed."""
    home = home_of(paths)
    said = scope.noted(mesh).get("Home")
    return Path(said) if said and home == scope.manifests / mesh else home


def _refuse_unwritable(*words: str) -> None:
    """A line break in a name would begin another line of the unit."""
    for word in words:
        if not word.isprintable():
            raise Failure(
                "unprintable-path",
                f"{word!a} cannot stand in a unit file",
                hint="give the directory a name of printable characters",
            )


def _copies(directory: Path, sources: Mapping[str, str]) -> dict[Path, str]:
    copies: dict[Path, str] = {}
    for name, text in sources.items():
        path = Path(name)
        copy = directory / (path.name if path.suffix in SUFFIXES else f"{path.name}.yaml")
        if copy in copies:
            raise Failure(
                "same-name",
                f"two manifests are named {copy.name}",
                hint="installed manifests lie in one directory: rename one",
            )
        copies[copy] = text
    return copies


def _environment(scope: Scope) -> dict[str, str]:
    """Where Tulle was told to keep things; and for a user's services the PATH by which that user starts programs."""
    names = (
        "TULLE_RUNTIME_DIR",
        "TULLE_STATE_DIR",
        *(() if scope.is_system else ("PATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME")),
    )
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _manifests_in(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        return []


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
