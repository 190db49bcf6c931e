"""`tulle up`: from manifests to a running mesh."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import paths_argument
from tulle.cli.words import Ended, Exit, Failure, say
from tulle.wire.plan import AUTO, WAYS

if TYPE_CHECKING:
    from tulle.wire.status import NodeStatus

STARTUP_SECONDS = 60.0


@click.command()
@paths_argument
@click.option("--detach", "-d", is_flag=True, help="Run in the background; return when the mesh is ready.")
@click.option("--timeout", default=STARTUP_SECONDS, show_default=True, metavar="SECONDS", help="For --detach to wait.")
@click.option(
    "--redirect",
    type=click.Choice(WAYS),
    default=AUTO,
    show_default=True,
    help="How what a service dials reaches the proxy: by an nftables redirect, or by a listener at each virtual address"
    " (no service may then listen on 0.0.0.0 at a port that another has). `auto`: the redirect where the kernel has it.",
)
def up(paths: tuple[Path, ...], detach: bool, timeout: float, redirect: str) -> None:
    """Start the mesh of these manifests.

    Validates them, tries that this box can run pods, and runs in the foreground until interrupted. While it runs,
    changes of the manifests are followed as they are saved.
    """
    from tulle.cli.doors import refuse_closed_doors
    from tulle.cli.manifests import read_and_compile

    loaded, compiled = read_and_compile(paths)
    mesh = compiled.snapshot.mesh
    refuse_running(mesh)
    refuse_newer_state(mesh)
    if any(pod.isolated for pod in compiled.plan.pods):
        refuse_impossible_pods()
    if containers := [pod.name for pod in compiled.plan.pods if pod.container]:
        refuse_impossible_containers(containers)
    refuse_closed_doors(compiled.plan.doors, loaded.resources)
    if os.getuid() == 0:
        from tulle.cli.writers import other_writers

        for one in other_writers(paths):
            say(f"note: {one}, who thus decides what root runs")
    command = [*supervisor_command(mesh, paths), "--redirect", redirect]
    if detach:
        start_detached(mesh, command, timeout)
    else:
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606  (the foreground process is the supervisor)


def supervisor_command(mesh: str, paths: Sequence[Path]) -> list[str]:
    """What runs a mesh. `-P`: nothing in the working directory may pose as a module."""
    words = [sys.executable, "-P", "-m", "tulle.supervisor", "--mesh", mesh]
    for path in paths:
        words += ["--manifest", str(path.absolute())]
    return words


def refuse_running(mesh: str) -> None:
    """Ends when the mesh has a supervisor."""
    from tulle.cli.supervisors import supervisor_pid

    if pid := supervisor_pid(mesh):
        raise Failure(
            "already-running",
            f"mesh `{mesh}` runs already (pid {pid})",
            hint="`tulle apply` changes it, `tulle down` ends it",
        )


def refuse_newer_state(mesh: str) -> None:
    """Ends where a newer Tulle has kept the state of this mesh."""
    from tulle.kit import paths
    from tulle.store.database import NewerState
    from tulle.store.revisions import refuse_newer

    try:
        refuse_newer(paths.database(mesh, create=False))
    except NewerState as fault:
        raise Failure("newer-state", str(fault), hint=fault.hint) from fault


def refuse_impossible_pods() -> None:
    """Ends with the reason and remedy of what this box lacks for pods."""
    from tulle.cli.probes import lacking

    if missing := lacking():
        reasons = "; ".join(f"{one.probe}: {one.reason}" for one in missing)
        raise Failure(
            "pods-impossible",
            f"pods are impossible on this box: {reasons}",
            hint=f"{missing[0].remedy}. `tulle check` says more; `isolation: none` runs a service without protection",
        )


def refuse_impossible_containers(names: Sequence[str]) -> None:
    """Ends with the reason and remedy of what this box lacks for containers."""
    from tulle.cli.probes import lacking_for_containers

    if missing := lacking_for_containers():
        raise Failure(
            "containers-impossible",
            f"containers are impossible on this box, and {', '.join(names)} would be: {missing.reason}",
            hint=f"{missing.remedy}. `tulle check` says more; `run:` starts a program of the box's in a pod",
        )


def start_detached(mesh: str, command: Sequence[str], timeout: float) -> None:
    """Starts a supervisor in a session of its own, and waits until all is ready."""
    from tulle.kit import paths

    words = paths.process_log(mesh, "supervisor").with_suffix(".stderr")
    with words.open("ab") as stderr:
        before = stderr.tell()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if child.poll() is not None:
            refuse_running(mesh)
            raise Failure(
                "did-not-start",
                f"the supervisor ended ({child.returncode}):\n{_tail(words, before)}",
                hint=f"its words are in {words}",
            )
        status = status_within(mesh, deadline)
        if status and status.ready and status.supervisor_pid == child.pid:
            say(f"mesh `{mesh}` is ready{_metrics(status)}")
            return
        time.sleep(0.05)
    say_what_lacks(mesh)
    say(f"mesh `{mesh}` runs, but was not ready within {timeout:g} s")
    say("hint: `tulle logs NAME` has a service's last words, `tulle status` the rest")
    raise Ended(Exit.REFUSED)


def status_within(mesh: str, deadline: float) -> "NodeStatus | None":
    """When it is ready, or after some seconds; None while nobody answers."""
    from tulle.cli.running import Running
    from tulle.wire.status import NodeStatus

    left = max(deadline - time.monotonic(), 0.0)
    try:
        wait = min(left, 5.0)
        return Running.starting(mesh).get(f"/status?ready={wait:.2f}", NodeStatus, timeout=wait + 5.0)
    except Failure:
        return None


def _metrics(status: "NodeStatus") -> str:
    why = f" ({status.metrics.why})" if status.metrics.why else ""
    return f"; metrics at http://{status.metrics.address}/metrics{why}"


def say_what_lacks(mesh: str) -> None:
    """What its readiness waits for, one line each."""
    from tulle.cli.running import Running
    from tulle.wire.status import NodeStatus

    try:
        for one in Running.starting(mesh).get("/status", NodeStatus, timeout=5.0).waits_for:
            say(f"waits for {one}")
    except Failure as failure:
        say(failure.message)


def _tail(path: Path, start: int) -> str:
    return "\n".join(path.read_bytes()[start:].decode(errors="replace").splitlines()[-10:])
