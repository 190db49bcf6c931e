"""The data plane's process: takes descriptors, builds its parts, serves until it is told to drain."""

import asyncio
import gc
import getopt
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple

import tulle
from tulle.http.server import serve
from tulle.kit import privileges
from tulle.kit.signals import leave_interrupts, on_signal
from tulle.kit.sock_diag import SockDiag
from tulle.proxy.admin import Admin
from tulle.proxy.arrival import Register
from tulle.proxy.attached import AttachedDialer
from tulle.proxy.attest import Attestor, sees_all_users
from tulle.proxy.broker import BrokerClient
from tulle.proxy.control import Control, Listeners
from tulle.proxy.counters import Counters
from tulle.proxy.dial import Dialer
from tulle.proxy.drain import Drain
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher
from tulle.proxy.memory import SnapshotMemory
from tulle.proxy.passages import ToServices
from tulle.proxy.plane import Plane
from tulle.proxy.relay import Relay
from tulle.proxy.selector import RelaySelector
from tulle.proxy.succession import Heir, Succession, Tally, Testator
from tulle.proxy.telemetry import Telemetry
from tulle.proxy.upstream import Pools

YOUNG_OBJECTS = 10_000
"""Made and not freed yet before the collector looks: a few hundred calls in flight at once are no garbage."""


class Options(NamedTuple):
    """The descriptors that the supervisor left open, and who to become."""

    control_fd: int
    """Handovers from the supervisor."""
    broker_fd: int
    """Asks for sockets in pods."""
    admin_fd: int
    """Listening unix socket of the admin API."""
    metrics_fd: int
    """Listening TCP socket for scrapes."""
    memory_fd: int
    """memfd with the last snapshot."""
    diag_fd: int = -1
    """Netlink socket that asks whose sockets are whose."""
    access_fd: int = -1
    """Pipe for the access log."""
    successor: bool = False
    """Another drains, and hands over what it has counted."""
    uid: int | None = None
    gid: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the proxy; returns its exit code."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    starter = os.getuid()
    counters = Counters()
    telemetry = Telemetry(counters, tulle.__version__, Memory().resident_bytes)
    privileges.drop(options.uid, options.gid)
    dispatcher = Dispatcher(report)
    leave_interrupts()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(RelaySelector(dispatcher))) as runner:
        runner.run(run(options, dispatcher, counters, telemetry, frozenset((starter, 0, os.getuid()))))
    return 0


class Memory:
    """How much memory this process holds. Opens its file once, before privileges are dropped; no other is opened."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident_bytes(self) -> int:
        """Resident octets now."""
        return int(os.pread(self._statm, 256, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(
    options: Options, dispatcher: Dispatcher, counters: Counters, telemetry: Telemetry, uids: frozenset[int]
) -> None:
    """Builds the parts, runs them, drains."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as dialling, asyncio.TaskGroup() as serving:
        relay = Relay(dispatcher, counters)
        if options.access_fd >= 0:
            relay.access_log.open(options.access_fd)
        broker = BrokerClient(dispatcher, socket.socket(fileno=options.broker_fd), report)
        dialer = Dialer(dispatcher, broker, dialling)
        pools = relay.connector = Pools(relay, dialer.dial)
        register = Register()
        relay.passages = ToServices(relay, register, dialer.dial)
        listeners = Listeners(
            relay, register, dialer.dial, broker.ask_again, lambda: control.say("serving", tulle.__version__)
        )
        memory = SnapshotMemory(options.memory_fd)
        plane = Plane(relay, pools, dialer, listeners, telemetry, memory, register, report)
        if options.diag_fd >= 0:
            diag = SockDiag(socket.socket(fileno=options.diag_fd))
            facts = Facts(_names_every_user())
            attestor = Attestor(dispatcher, register, diag, facts, lambda: control.ask_to_look())
            listeners.attestor = attestor
            dialer.attached = AttachedDialer(relay, attestor, report)
        drain = Drain(relay, register, listeners)
        tally = Tally(counters, dispatcher)
        heir, testator = Heir(tally, relay.refusals, report), Testator(tally, relay.refusals)
        admin = Admin(relay, plane, listeners, register, telemetry, heir, drain.begin, tulle.__version__)
        metrics = socket.socket(fileno=options.metrics_fd)
        succession = Succession(plane, drain, heir, testator, metrics, admin.answer_scrape, serving)

        on_signal(loop, (signal.SIGTERM, signal.SIGINT), drain.begin)
        broker.start()
        control = Control(
            dispatcher, socket.socket(fileno=options.control_fd), listeners, succession, drain.begin, report
        )
        control.start()
        plane.restore()
        api = serving.create_task(serve(socket.socket(fileno=options.admin_fd), admin.answer, uids=uids))
        succession.begin(is_first=not options.successor)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 20)
        await drain.wait()
        relay.access_log.finish()
        await testator.finish()
        api.cancel()
        succession.end()


def _names_every_user() -> bool:
    with open("/proc/self/uid_map", encoding="utf-8") as file:  # noqa: PTH123  (pathlib is not loaded here)
        return sees_all_users(file.read())


def parse_arguments(arguments: Sequence[str]) -> Options:
    """Of `--name VALUE` and `--name=VALUE`. Raises SystemExit for what is no command line of ours."""
    numbers = [name for name in Options._fields if name != "successor"]
    known = [*(f"{name.replace('_', '-')}=" for name in numbers), "successor"]
    try:
        found, rest = getopt.getopt(list(arguments), "", known)
        if rest:
            raise ValueError(f"{rest[0]} is no option")
        said = {name[2:].replace("-", "_"): value for name, value in found}
        return Options(successor=said.pop("successor", None) is not None, **{name: int(said[name]) for name in said})
    except (getopt.GetoptError, ValueError, TypeError) as fault:
        usage = " ".join(f"--{name}" for name in known)
        raise SystemExit(f"tulle.proxy: {fault}; it is started by the supervisor, with {usage}") from None


def report(text: str) -> None:
    """One entry of the proxy's log, which is its standard error."""
    sys.stderr.write(f"proxy: {text.rstrip()}\n")
    sys.stderr.flush()
