"""`tulle down`: end a mesh and everything it started."""

import os
import select
import signal

import click

from tulle.cli.options import mesh_option
from tulle.cli.words import Failure, say


@click.command()
@mesh_option
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="To wait for the end.")
def down(mesh: str | None, timeout: float) -> None:
    """End a running mesh: what is being served first, then the services, then the mesh itself.

    An open WebSocket, stream or TCP connection is cut after 10 s (the limit `drain_timeout`). A mesh that is installed starts
    again at the next boot.
    """
    from tulle.cli.running import running
    from tulle.cli.scope import Scope
    from tulle.cli.supervisors import supervisor_pid, unit_running

    found = running(mesh)
    if unit := unit_running(found.supervisor_pid):
        Scope.ours().ask("stop", unit)  # what it ended by itself, systemd would start again
        say(f"mesh `{found.name}` has ended; its unit {unit} starts it at the next boot, `tulle uninstall` removes it")
        return
    try:
        descriptor = os.pidfd_open(found.supervisor_pid)
        if supervisor_pid(found.name) == found.supervisor_pid:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        say(f"mesh `{found.name}` has ended")
        return
    except PermissionError as fault:
        raise Failure(
            "not-yours", f"mesh `{found.name}` belongs to another user", hint="ask as that user or root"
        ) from fault
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    if not ended.poll(timeout * 1000):
        raise Failure(
            "still-running",
            f"mesh `{found.name}` (pid {found.supervisor_pid}) has not ended within {timeout:g} s",
            hint="a service may take its `stopSeconds`; wait longer with --timeout",
        )
    say(f"mesh `{found.name}` has ended")
