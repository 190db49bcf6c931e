"""`tulle upgrade`: run the code that is on disk now, without a request failing."""

import time
from typing import TYPE_CHECKING

import click

import tulle
from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Failure, say, show_json
from tulle.wire.upgrade import LONGEST_DRAIN_SECONDS

if TYPE_CHECKING:
    from tulle.cli.running import Running
    from tulle.wire.status import NodeStatus, UpgradeLine

_LOOK_SECONDS = 0.05
_BEYOND_SECONDS = 15.0
"""For the agent to be back, after the time that the new proxy may take."""


@click.command()
@click.option(
    "--drain",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0.0, max=LONGEST_DRAIN_SECONDS),
    metavar="SECONDS",
    help="How long the old proxy may take to end what it serves; then it is cut.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=1.0),
    metavar="SECONDS",
    help="How long the new proxy may take to serve; else the old one goes on.",
)
@click.option("--wait", is_flag=True, help="Return only when the old proxy has ended.")
@click.option("--hurry", is_flag=True, help="Cut what still drains for an earlier upgrade.")
@mesh_option
@json_option
def upgrade(drain: float, timeout: float, wait: bool, hurry: bool, mesh: str | None, as_json: bool) -> None:
    """Have a running mesh run the code that is installed now: the proxy first, then the agent.

    Install it first. A new proxy takes over the listening ports; the old one accepts nothing any more, and ends what it
    serves: no request fails. HTTP/1.1 connections close with their next answer, HTTP/2 and gRPC callers are told to go on
    elsewhere. What lasts (streams, WebSockets, TCP) lasts until --drain, and is cut then. For so long there are two proxies,
    which take twice the memory. If the new one does not serve, the old one goes on, and this exits with 1.

    Services are not touched, and the supervisor stays what it is. To have a new one, restart its unit, or `tulle down` and
    `tulle up`: the services restart with it.
    """
    from tulle.cli.running import running

    found = running(mesh)
    before = found.status(0.0)
    order = _order(found, drain, timeout, hurry)
    after = _followed(found, before, order, timeout + _BEYOND_SECONDS)
    if not as_json:
        _tell(before, after, drain)
    if wait:
        after = _drained(found, after, drain + _BEYOND_SECONDS)
        if not as_json:
            say(f"proxy       pid {before.proxies[0].pid} has ended")
    if as_json:
        show_json({"before": before, "after": after})


def _order(found: "Running", drain: float, timeout: float, hurry: bool) -> str:
    from tulle.wire.status import Ordered

    target = f"/upgrade?drain={drain:g}&ready={timeout:g}&hurry={int(hurry)}"
    try:
        return found.post(target, b"", Ordered).upgrade
    except Failure as fault:
        raise Failure(
            "upgrade-refused",
            fault.message,
            hint="`tulle status` shows what still drains; --hurry cuts it"
            if "not done" in fault.message
            else fault.hint,
        ) from fault


def _followed(found: "Running", before: "NodeStatus", order: str, patience: float) -> "NodeStatus":
    """How the node is once the new proxy serves and another agent answers. Raises Failure when the old one goes on."""
    from tulle.wire.upgrade import Stage

    end = time.monotonic() + patience
    while True:
        now = _status(found, end)
        last = now.upgrade
        if last.id == order and last.stage is Stage.FAILED:
            raise _failed(found, last)
        if last.id == order and last.stage is not Stage.STARTING and now.agent_pid != before.agent_pid:
            return now
        if time.monotonic() >= end:
            raise Failure(
                "upgrade-unfinished",
                f"the upgrade is `{last.stage or 'unheard of'}` after {patience:g} s",
                hint=f"`tulle status --mesh {found.name}` shows its processes, `tulle logs --mesh {found.name}` their words",
            )
        time.sleep(_LOOK_SECONDS)


def _drained(found: "Running", now: "NodeStatus", patience: float) -> "NodeStatus":
    from tulle.wire.upgrade import Stage

    end = time.monotonic() + patience
    while now.upgrade.stage is Stage.DRAINING and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        now = _status(found, end)
    return now


def _status(found: "Running", end: float) -> "NodeStatus":
    """From whichever agent there is: one of them ends meanwhile, perhaps while it is asked."""
    while True:
        try:
            return found.status(0.0)
        except Failure:
            if time.monotonic() >= end or not found.is_supervised:
                raise


def _failed(found: "Running", last: "UpgradeLine") -> Failure:
    return Failure(
        "upgrade-failed",
        f"{last.why}; the old proxy goes on, and nothing has changed",
        hint=f"`tulle logs --mesh {found.name} proxy` has its last words",
    )


def _tell(before: "NodeStatus", after: "NodeStatus", drain: float) -> None:
    old, new = before.proxies[0], after.proxies[0]
    say(
        f"proxy       pid {new.pid} (tulle {new.version}) serves, {after.upgrade.seconds:.2f} s after the order, in place of "
        f"pid {old.pid} (tulle {old.version})"
    )
    if any(one.pid == old.pid for one in after.proxies[1:]):
        say(f"proxy       pid {old.pid} drains, for at most {drain:g} s")
    say(
        f"agent       pid {after.agent_pid} (tulle {after.version}) in place of pid {before.agent_pid} (tulle {before.version})"
    )
    if after.supervisor_version != tulle.__version__:
        say(
            f"supervisor  pid {after.supervisor_pid} stays tulle {after.supervisor_version}: services restart with it. When that "
            f"suits: `tulle down --mesh {after.mesh}` and `tulle up`, or `systemctl restart` its unit"
        )
