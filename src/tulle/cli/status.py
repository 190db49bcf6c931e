"""`tulle status`: how the node is."""

import time
from typing import TYPE_CHECKING

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Ended, Exit, green, red, say, say_faults, show, show_json, show_table, yellow
from tulle.wire.plan import DoorState, blame

if TYPE_CHECKING:
    from tulle.wire.status import AttachedLine, DoorLine, NodeStatus, ProxyProcess, PushLine


@click.command()
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for the mesh to be ready.")
@mesh_option
@json_option
def status(wait: float, mesh: str | None, as_json: bool) -> None:
    """Show whether the mesh is ready, its pods and its problems. Exits 1 while it is not ready."""
    from tulle.cli.holders import with_holders
    from tulle.cli.running import running

    found = with_holders(running(mesh).status(wait))
    if as_json:
        show_json(found)
    else:
        _show(found)
    if not found.ready:
        raise Ended(Exit.REFUSED)


def _show(found: "NodeStatus") -> None:
    state = green("ready") if found.ready else yellow("not ready")
    proxy = f"generation {found.proxy.generation}" if found.proxy.reachable else red("does not answer")
    show(f"mesh        {found.mesh} ({state})")
    show(f"generation  {found.generation}")
    show(f"proxy       {proxy}{_versions(found)}")
    for process in found.proxies[1:]:
        show(f"proxy       pid {process.pid}, {_course(process)}, tulle {process.version or '(not said yet)'}")
    show(f"agent       pid {found.agent_pid}, since {_ago(found.since)}, tulle {found.version}")
    supervisor = found.supervisor_version
    differs = f", tulle {supervisor}" if supervisor not in ("", found.version) else ""
    show(f"supervisor  pid {found.supervisor_pid}{differs}{_unit(found.supervisor_pid)}")
    show(f"metrics     http://{found.metrics.address}/metrics{f' ({found.metrics.why})' if found.metrics.why else ''}")
    if found.push:
        show(f"push        {found.push.url} ({_push(found.push)})")
    for door in found.doors:
        show(f"door        :{door.port} → {door.service} ({_door(door)})")
    if found.pods:
        show("")
        show_table(
            ("POD", "STATE", "PID", "RESTARTS", "SINCE", "DIALS BY", "WHY"),
            [
                (pod.name, pod.state, str(pod.pid or "-"), str(pod.restarts), _ago(pod.since), pod.way or "-", pod.why)
                for pod in found.pods
            ],
        )
    if found.attached:
        show("")
        rows = [(one.name, _attached(one), _ago(one.since), _why(one)) for one in found.attached]
        show_table(("ATTACHED", "STATE", "SINCE", "WHY"), rows)
    for closed in found.closed_addresses:
        say(f"note: cannot listen at {closed.address}: {blame(closed.why, closed.holder)}. {closed.remedy}")
    for one in found.waits_for:
        say(f"waits for {one}")
    for note in found.notes:
        say(f"note: {note}")
    if found.problems:
        say(f"the manifests have problems; generation {found.generation} stays:")
        say_faults(found.problems)


def _versions(found: "NodeStatus") -> str:
    """The proxy's own, where there are two proxies or it is not the agent's."""
    if not found.proxies:
        return ""
    one = found.proxies[0]
    return f", pid {one.pid}, tulle {one.version}" if len(found.proxies) > 1 or one.version != found.version else ""


def _course(process: "ProxyProcess") -> str:
    from tulle.wire.upgrade import ProxyState

    if process.state is ProxyState.DRAINING:
        return f"drains, at most {max(process.until - time.time(), 0.0):.0f} s more"
    return "is being started"


def _unit(supervisor: int) -> str:
    from tulle.cli.scope import unit_running

    unit = unit_running(supervisor)
    return f", installed as {unit}" if unit else ""


def _push(push: "PushLine") -> str:
    """How it goes, what waits, what was lost."""
    state = red(f"failing since {_ago(push.failing_since)}: {push.why}") if push.why else green("ok")
    said = [state, f"last {_ago(push.last_success)} ago" if push.last_success else "nothing taken yet"]
    if push.waiting_samples:
        said.append(f"{push.waiting_samples} samples wait ({push.waiting_bytes // 1024 + 1} KB)")
    said.extend(f"{count} samples dropped: {reason}" for reason, count in push.dropped.items())
    return "; ".join([*said, *push.notes])


def _door(door: "DoorLine") -> str:
    if door.state is DoorState.OPEN:
        return green("open")
    return red(f"{door.state}: {blame(door.why, door.holder)}") if door.state else yellow("not tried yet")


def _attached(one: "AttachedLine") -> str:
    if one.squatted:
        return red("squatted")
    return green("recognised") if one.is_known else yellow("not there")


def _why(one: "AttachedLine") -> str:
    """Who is in its place, and what else there is to say."""
    said = (
        f"another had port {port} when it was last dialled; {f'has it now: {holder}' if holder else 'nobody has it now'}"
        for port, holder in zip(one.squatted, one.holders, strict=True)
    )
    return "; ".join([*said, *([one.why] if one.why else [])])


def _ago(moment: float) -> str:
    seconds = max(int(time.time() - moment), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
