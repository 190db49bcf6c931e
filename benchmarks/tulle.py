"""The real proxy, `python -m tulle.proxy`, with the descriptors that the supervisor would hand it and a snapshot of the demo's policies."""

import http.client
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

import hatch_build
from benchmarks.crowd import crowded
from benchmarks.process import PROXY_CORE, Broken, Lacking, Target, start
from benchmarks.traffic import Traffic
from tulle.kit.netlink import open_sock_diag
from tulle.wire import plan
from tulle.wire import snapshot as wire

ADDRESS = "127.80.0.1"
SERVICE_ADDRESS = f"{ADDRESS}:80"
"""Where callers in pods dial the service."""
CALLER = wire.Caller("prod/till", "shop.local/ns/prod/sa/till", "prod", "prod/till")
"""Who calls from a pod, and from the box itself where the kernel attests it."""

Besides = tuple[plan.Handover, socket.socket | None]
"""A fact that the supervisor tells the proxy, and the descriptor that comes with it."""


def start_tulle(
    started: ExitStack,
    work: Path,
    traffic: Traffic,
    name: str,
    sources: Path,
    under: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    besides: Sequence[Besides] = (),
) -> Target:
    """Starts the proxy from `sources`, hands it a door and what there is `besides`, and puts the snapshot.

    `under` are the words of a program that runs it, a profiler. Raises Lacking where nothing is compiled, Broken where the proxy does not serve.
    """
    if not (sources / "tulle").exists():
        raise Lacking(f"nothing is compiled: {hatch_build.missing() or 'make compiled'}")
    door = started.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
    port = int(door.getsockname()[1])
    ours, control = (started.enter_context(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    _broker, broker = (started.enter_context(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    admin_path = work / f"{name}.sock"
    admin = started.enter_context(socket.socket(socket.AF_UNIX))
    admin.bind(str(admin_path))
    admin_path.chmod(0o600)
    admin.listen()
    metrics = started.enter_context(socket.create_server(("127.0.0.1", 0)))
    memory = os.memfd_create(name)
    started.callback(os.close, memory)
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # lines of the access log are made and written, not kept
    started.callback(os.close, nowhere)

    diag = started.enter_context(open_sock_diag())

    fds = {
        "--control-fd": control.fileno(),
        "--broker-fd": broker.fileno(),
        "--admin-fd": admin.fileno(),
        "--metrics-fd": metrics.fileno(),
        "--memory-fd": memory,
        "--diag-fd": diag.fileno(),
        "--access-fd": nowhere,
    }
    log = work / f"{name}.log"
    process = start(
        started,
        PROXY_CORE,
        [*under, sys.executable, "-m", "tulle.proxy", *(str(word) for pair in fds.items() for word in pair)],
        log,
        env={**os.environ, "PYTHONPATH": str(sources), **(environment or {})},
        pass_fds=tuple(fds.values()),
    )
    socket.send_fds(ours, [plan.encode(plan.Handover("door", str(port)))], [door.fileno()])
    for fact, listener in besides:
        socket.send_fds(ours, [plan.encode(fact)], [] if listener is None else [listener.fileno()])
    ours.send(plan.encode(plan.Handover("synced", "")))
    at_box = [listener.getsockname()[1] for fact, listener in besides if fact.kind == "host" and listener is not None]
    text = wire.encode_snapshot(crowded(snapshot(port, traffic, at_box), traffic.services))
    put(admin_path, text, log, process)
    try:
        traffic.await_service(name, port, process, log)
    except Lacking as lack:
        raise Broken(str(lack)) from None
    return Target(name, port, process.pid)


def snapshot(door: int, traffic: Traffic, at_box: Sequence[int] = ()) -> wire.Snapshot:
    """The demo's policies and split. A caller at the door is anonymous; `at_box`: ports where programs of the box call, beside that of pods."""
    protocol = wire.Protocol.TCP if traffic.is_tcp else wire.Protocol.HTTP2 if traffic.is_http2 else wire.Protocol.HTTP
    billing = wire.Rule(sources=(wire.Source(principals=("shop.local/ns/prod/sa/billing",)),))
    allows = tuple(
        wire.Policy(
            name=f"prod/allow-{number}",
            action=wire.Action.ALLOW,
            rules=(billing, wire.Rule(operations=(operation,))),
        )
        for number, operation in enumerate(_allowed(traffic))
    )
    versions = [
        wire.Backend(
            name=f"prod/orders-{version}:9000",
            service="prod/orders",
            version=version,
            protocol=protocol,
            endpoints=(wire.HostEndpoint(workload=f"prod/orders-{version}", host="127.0.0.1", port=port),),
        )
        for version, port in zip(("v1", "v2"), traffic.backend.ports, strict=True)
    ]
    shares = tuple(
        wire.WeightedBackend(backend=one.name, weight=weight) for one, weight in zip(versions, (99, 1), strict=True)
    )
    route = wire.Route(name="prod/orders#0", backends=shares)
    of_pods = wire.ServicePort(
        port=80,
        target_port=9000,
        protocol=protocol,
        routes=() if traffic.is_tcp else (route,),
        backends=shares if traffic.is_tcp else (),
    )
    deny = wire.Policy(
        name="prod/deny-dev",
        action=wire.Action.DENY,
        rules=(wire.Rule(sources=(wire.Source(namespaces=("dev",)),)),),
    )
    service = wire.Service(
        name="prod/orders",
        address=ADDRESS,
        ports=(of_pods, *(msgspec.structs.replace(of_pods, port=one) for one in at_box)),
        policies=(deny.name, *(allow.name for allow in allows)),
    )
    return wire.Snapshot(
        generation=1,
        mesh="bench",
        trust_domain="shop.local",
        callers=(CALLER,),
        services=(service,),
        backends=tuple(versions),
        policies=(deny, *allows),
        doors=(wire.Door(port=door, service=service.name, service_port=80),),
    )


def _allowed(traffic: Traffic) -> list[wire.Operation]:
    """One for each policy."""
    if traffic.is_tcp:
        return [wire.Operation(ports=(9000,))]
    return [wire.Operation(methods=traffic.methods, paths=(f"{prefix}*",)) for prefix in traffic.prefixes]


def put(admin: Path, snapshot: bytes, log: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    """Puts a snapshot by the admin API; returns when it is in force. Raises Broken when it is refused, or the process ends."""
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    try:
        connection.sock.connect(str(admin))
        connection.request("PUT", "/snapshot", snapshot, {"Content-Type": "application/json"})
        while not select.select([connection.sock], [], [], 0.1)[0]:
            if process is not None and process.poll() is not None:
                raise Broken(f"the proxy ended at once: {log.read_text(errors='replace')[-1500:]}")
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as fault:
        raise Broken(f"the proxy's admin API does not answer: {fault!r}\n{log.read_text()[-1500:]}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Broken(f"the proxy refuses the snapshot: {said.decode(errors='replace')}")
