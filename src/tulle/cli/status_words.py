"""A status in words. Loaded by every `tulle status`: it imports next to nothing, and compares states by their text."""

import time

from tulle.cli.supervisors import unit_running
from tulle.cli.words import green, red, say, say_faults, show, show_table, yellow

TYPE_CHECKING = False  # what type checkers read as true; `typing` would be a third of the time of the command
if TYPE_CHECKING:
    from tulle.wire.status import AttachedLine, DoorLine, NodeStatus, ProxyProcess, PushLine


def show_status(found: "NodeStatus") -> None:
    """Data and words; colours where a terminal wants them."""
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
        from tulle.wire.plan import blame

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
    if process.state == "draining":
        return f"drains, at most {max(process.until - time.time(), 0.0):.0f} s more"
    return "is being started"


def _unit(supervisor: int) -> str:
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
    if door.state == "open":
        return green("open")
    from tulle.wire.plan import blame

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
