"""`tulle install`: from manifests to a mesh that systemd runs, now and at each boot."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import paths_argument
from tulle.cli.words import Ended, Exit, Failure, say, show

if TYPE_CHECKING:
    from tulle.cli.installation import Installation
    from tulle.cli.scope import Scope

STARTUP_SECONDS = 60.0


@click.command()
@paths_argument
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="Where relative paths in the manifests start, rather than beside the first.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be written and run, and change nothing.")
@click.option("--no-start", is_flag=True, help="Write and enable only: for an image, or a later boot.")
@click.option(
    "--timeout", default=STARTUP_SECONDS, show_default=True, metavar="SECONDS", help="To wait for the mesh to be ready."
)
def install(paths: tuple[Path, ...], home: Path | None, dry_run: bool, no_start: bool, timeout: float) -> None:
    """Install the mesh of these manifests for good: a systemd unit runs it, now and at each boot.

    Root installs for the box, anybody else for themselves (systemd --user, lingering). The manifests are copied to
    /etc/tulle/MESH (~/.config/tulle/MESH); edit the copies, or install again: a mesh that runs follows without a restart.
    """
    from tulle.cli.apparmor import is_restricted
    from tulle.cli.installation import home_for, is_active, planned
    from tulle.cli.manifests import read_and_compile
    from tulle.cli.scope import Scope
    from tulle.cli.up import refuse_newer_state

    scope = Scope.ours()
    loaded, compiled = read_and_compile(paths)
    mesh = compiled.snapshot.mesh
    refuse_foreign_program()
    refuse_running_otherwise(mesh)
    refuse_newer_state(mesh)
    if not no_start and not dry_run:
        refuse_without_systemd(scope)
    plan = planned(
        scope,
        mesh,
        loaded.sources,
        home.absolute() if home else home_for(scope, mesh, paths),
        sum(one.stop_seconds for one in compiled.plan.pods),
        is_restricted=is_restricted(),
    )
    if dry_run:
        _show(plan)
        return
    if any(pod.isolated for pod in compiled.plan.pods):
        _refuse_impossible_pods(scope)
    if not no_start and not is_active(scope, mesh):
        from tulle.cli.doors import refuse_closed_doors

        refuse_closed_doors(compiled.plan.doors, loaded.resources)
    _carry_out(plan, is_started=not no_start)
    if not no_start:
        _await(scope, mesh, timeout)


def refuse_foreign_program() -> None:
    """Ends when root would run, at each boot, what another user may write."""
    if os.getuid():
        return
    from tulle.cli.writers import other_writers, own_program

    if others := other_writers(own_program()):
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise Failure(
            "foreign-program",
            f"{others[0]}{more}: whoever may write Tulle decides what root runs",
            hint="install Tulle where only root writes: `pipx install --global .` in its checkout, or"
            " `python3 -m venv /opt/tulle && /opt/tulle/bin/pip install .`; or install the mesh as that user",
        )


def refuse_running_otherwise(mesh: str) -> None:
    """Ends when the mesh runs, and no unit runs it."""
    from tulle.cli.supervisors import supervisor_pid, unit_running

    pid = supervisor_pid(mesh)
    if pid and not unit_running(pid):
        raise Failure(
            "already-running",
            f"mesh `{mesh}` runs already (pid {pid}), started by hand",
            hint=f"`tulle down --mesh {mesh}` first",
        )


def refuse_without_systemd(scope: "Scope") -> None:
    """Ends where nothing would start the unit."""
    if scope.is_booted:
        return
    if scope.is_system:
        raise Failure(
            "no-systemd",
            "no systemd runs this box",
            hint="--no-start writes the unit for a later boot; without systemd, `tulle up --detach` in what starts this box's services",
        )
    raise Failure(
        "no-systemd",
        "no systemd of this user answers",
        hint="log in as this user (ssh, `machinectl shell USER@`), not by su or sudo; or XDG_RUNTIME_DIR is not set",
    )


def _refuse_impossible_pods(scope: "Scope") -> None:
    from tulle.cli import apparmor
    from tulle.cli.probes import lacking
    from tulle.kit.files import write_whole

    if scope.is_system or not apparmor.is_restricted() or not lacking():
        from tulle.cli.up import refuse_impossible_pods

        refuse_impossible_pods()
        return
    file = apparmor.profile_file(apparmor.program())
    draft = scope.manifests / file.name
    draft.parent.mkdir(parents=True, exist_ok=True)
    write_whole(draft, apparmor.profile(apparmor.program()), 0o644)
    raise Failure(
        "profile-needed",
        "this distribution lets ordinary users make namespaces only by programs that AppArmor knows",
        hint=f"root must run, once: install -m 644 {draft} {file} && apparmor_parser --replace {file}",
    )


def _show(plan: "Installation") -> None:
    from tulle.cli.installation import commands
    from tulle.cli.unit_file import unit_name

    unit = unit_name(plan.unit.mesh)
    for path, text in plan.files.items():
        show(f"# {'write' if path in plan.changed else 'unchanged'}: {path}")
        if path in plan.changed:
            show(text)
    for path in plan.stale:
        show(f"# remove: {path}")
    for words in commands(plan, is_started=True):
        show(f"# run: {' '.join(words)}")
    if not plan.changed and not plan.stale:
        show(f"# {unit} is installed as it would be")


def _carry_out(plan: "Installation", *, is_started: bool) -> None:
    from tulle.cli.installation import commands, this_user
    from tulle.kit.files import write_whole

    todo, changed = commands(plan, is_started=is_started), plan.changed
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, plan.files[path], 0o600 if path.parent.parent == plan.scope.manifests else 0o644)
        say(f"wrote {path}")
    for path in plan.stale:
        path.unlink()
        say(f"removed {path}")
    if not changed and not plan.stale:
        say(f"{plan.scope.unit(plan.unit.mesh)} and its manifests are as they shall be")
    for words in todo:
        if words[-2] == "restart":
            say("the unit has changed: services are restarted with it")
        done = plan.scope.run(words)
        if done.returncode == 0:
            continue
        why = done.stderr.strip() or done.stdout.strip()
        if words[0] == "loginctl":
            say(
                f"note: {why}; the mesh runs while you are logged in. Root can change that: loginctl enable-linger {this_user()}"
            )
        elif words[0] == "apparmor_parser":
            say(f"note: {plan.profile} cannot be loaded ({why}): ordinary users cannot run pods before the next boot")
        else:
            raise Failure("not-started", f"`{' '.join(words)}` failed: {why}", hint=_look(plan.scope, plan.unit.mesh))


def _await(scope: "Scope", mesh: str, timeout: float) -> None:
    from tulle.cli.up import say_what_lacks, status_within

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        status = status_within(mesh, deadline)
        if status and status.ready:
            say(f"mesh `{mesh}` is installed and ready")
            return
        time.sleep(0.05)
    say_what_lacks(mesh)
    say(f"mesh `{mesh}` is installed and runs, but was not ready within {timeout:g} s; {_look(scope, mesh)}")
    raise Ended(Exit.REFUSED)


def _look(scope: "Scope", mesh: str) -> str:
    journal = "journalctl" if scope.is_system else "journalctl --user"
    return f"`{journal} -u tulle-{mesh}` and `tulle logs --mesh {mesh} supervisor agent` say more"
