"""`tulle uninstall`: takes an installed mesh off the box, with all that it left."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import mesh_option
from tulle.cli.words import Exit, Failure, say, show

if TYPE_CHECKING:
    from tulle.cli.scope import Scope


@click.command()
@mesh_option
@click.option("--keep-state", is_flag=True, help="Keep revisions and logs.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
def uninstall(mesh: str | None, keep_state: bool, dry_run: bool) -> None:
    """Stop an installed mesh and remove its unit, manifests, revisions and logs. Nothing of it is left.

    What an interrupted installation left goes too. The manifests that were installed from stay where they are.
    """
    from tulle.cli.install import refuse_running_otherwise
    from tulle.cli.scope import Scope

    scope = Scope.ours()
    name = _installed(scope, mesh)
    refuse_running_otherwise(name)
    remains = _remains(scope, name, keep_state=keep_state)
    if dry_run:
        for path in remains:
            show(str(path))
        return
    lingers = scope.noted(name).get("Linger") == "yes"
    _stop(scope, name)
    for path in (*remains, *_remains(scope, name, keep_state=keep_state)):  # the mesh may have written as it ended
        _remove(path, scope)
    for parent in (scope.manifests, *scope.states):
        _remove_empty(parent)
    if scope.is_system:
        from tulle.supervisor.container_cgroup import clear_cgroups

        clear_cgroups(name)
    if scope.is_booted:
        scope.run((*scope.systemctl, "daemon-reload"))
        scope.run((*scope.systemctl, "reset-failed", scope.unit(name).name))
    if lingers:
        _end_lingering(scope)
    say(f"mesh `{name}` is uninstalled")


def _installed(scope: "Scope", mesh: str | None) -> str:
    found = scope.installed()
    if mesh is None and len(found) == 1:
        return found[0]
    if mesh is not None and (mesh in found or _remains(scope, mesh, keep_state=False)):
        return mesh
    if found:
        what = "several meshes are installed" if mesh is None else f"mesh `{mesh}` is not installed"
        raise Failure(
            "which-mesh", f"{what}: there is {', '.join(found)}", hint="say which: --mesh NAME", exit=Exit.USAGE
        )
    whose = "on this box" if scope.is_system else "for this user"
    raise Failure("not-installed", f"no mesh is installed {whose}", exit=Exit.NOT_RUNNING)


def _stop(scope: "Scope", mesh: str) -> None:
    unit = scope.unit(mesh).name
    if scope.is_booted and (
        scope.unit(mesh).exists() or scope.run((*scope.systemctl, "is-active", unit)).returncode == 0
    ):
        scope.ask("stop", unit, code="still-running")
        scope.run((*scope.systemctl, "disable", unit))


def _remains(scope: "Scope", mesh: str, *, keep_state: bool) -> list[Path]:
    """What is there of a mesh, files before the directories that hold them."""
    from tulle.cli import apparmor

    unit = scope.unit(mesh)
    kept = scope.states[:-1] if keep_state else ()
    paths = [
        *sorted(scope.units.glob(f"*.wants/{unit.name}")),
        unit.with_name(f"{unit.name}.d"),
        unit,
        *(parent / mesh for parent in (scope.manifests, *scope.states) if parent not in kept),
        scope.states[-1] / f"{mesh}.forward",
    ]
    if not [one for one in scope.installed() if one != mesh]:
        profile = apparmor.profile_file(apparmor.program())
        paths += [profile] if scope.is_system else [scope.manifests / profile.name]
    return [path for path in paths if os.path.lexists(path)]


def _remove(path: Path, scope: "Scope") -> None:
    from tulle.cli import apparmor

    if not os.path.lexists(path):
        return
    if path.parent == apparmor.PROFILES:
        apparmor.unload(path, scope.run)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    say(f"removed {path}")
    if path.parent.suffix == ".wants":
        _remove_empty(path.parent)
    elif path.parent == scope.units and not scope.is_system:
        _remove_empty(scope.units)
        _remove_empty(scope.units.parent)


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):  # another mesh has something there
        directory.rmdir()


def _end_lingering(scope: "Scope") -> None:
    """Only when nothing else of this user waits for a boot."""
    if others := [path.name for path in scope.units.glob("*.wants/*")]:
        say(f"note: you linger on, since {', '.join(sorted(others))} may need it: loginctl disable-linger ends it")
    elif (done := scope.run(("loginctl", "disable-linger"))).returncode:
        say(f"note: lingering was not ended: {done.stderr.strip()}")
