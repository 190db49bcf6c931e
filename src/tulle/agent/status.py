"""How the node is, in the words of its status document."""

import os
from collections.abc import Mapping

import msgspec

import tulle
from tulle.agent.faults import fault_of
from tulle.agent.leaving import Leaving
from tulle.agent.node import Node
from tulle.wire.plan import DoorStatus
from tulle.wire.snapshot import Door
from tulle.wire.status import (
    AddressLine,
    AttachedLine,
    DoorLine,
    MetricsLine,
    NodeStatus,
    PodLine,
    ProxyProcess,
    UpgradeLine,
)


def status_of(node: Node, leaving: Leaving, started: float) -> NodeStatus:
    """As it is now. `started`: Unix time of this agent's start."""
    last = node.proxies
    waits = node.waits_for()
    seen = {door.port: door for door in node.seen.doors}
    return NodeStatus(
        mesh=node.ground.mesh,
        version=tulle.__version__,
        ready=not waits,
        generation=node.generation,
        waits_for=tuple(waits),
        agent_pid=os.getpid(),
        supervisor_pid=os.getppid(),
        since=started,
        proxy=node.proxy,
        pods=tuple(PodLine(**pod._asdict()) for pod in node.seen.pods),
        doors=tuple(_door(door, seen) for door in node.doors),
        attached=tuple(AttachedLine(**one._asdict()) for one in node.seen.attached),
        closed_addresses=tuple(AddressLine(**one._asdict()) for one in node.seen.addresses),
        proxies=tuple(
            ProxyProcess(pid=one.pid, state=one.state, version=one.version, since=one.since, until=one.until)
            for one in last.proxies
        ),
        upgrade=UpgradeLine(id=last.upgrade, stage=last.stage, why=last.why, seconds=last.seconds),
        supervisor_version=last.supervisor,
        metrics=MetricsLine(address=node.seen.metrics, why=node.seen.metrics_why),
        push=leaving.line(),
        problems=tuple(map(fault_of, node.problems)),
        notes=tuple(node.notes),
    )


def _door(door: Door, seen: Mapping[int, DoorStatus]) -> DoorLine:
    found = seen.get(door.port)
    line = DoorLine(port=door.port, service=door.service)
    return msgspec.structs.replace(line, state=found.state, why=found.why, holder=found.holder) if found else line
