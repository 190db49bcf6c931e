"""A hostile service: tries from inside a pod what it should not be able to do, and says what came of it.

`ATTEMPTS` is the table; SECURITY.md lists it. Each row names the outcomes that are expected: the name of an errno,
or `done`. Rows that are expected to be `done` are open as meant. Prints one JSON object a row; knows nothing of Tulle.
"""

# Calls go by the names that the kernel has for them; the output is the report.
# ruff: noqa: PTH102, PTH104, PTH108, PTH112, PTH110, PTH118, PTH123, PTH208, T201

import _thread
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "keyctl": 250, "perf_event_open": 298, "bpf": 321, "userfaultfd": 323},
    "aarch64": {"clone": 220, "pivot_root": 41, "keyctl": 219, "perf_event_open": 241, "bpf": 280, "userfaultfd": 282},
}[os.uname().machine]
NEWNS, NEWUSER, NEWPID, NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
REFUSED = ("EACCES", "EROFS", "EPERM")
TARGETS: dict[str, str] = json.loads(os.environ.get("INTRUDER_TARGETS", "{}"))
IS_ORDINARY = TARGETS.get("runner") == "user"
IS_CONTAINER = TARGETS.get("container") == "yes"
BY_ADDRESSES = TARGETS.get("way") == "addresses"
"""Listeners stand at the virtual addresses, since nothing redirects."""


class Attempt(NamedTuple):
    """One row: what is tried, how, and which outcomes are as they should be."""

    what: str
    expected: tuple[str, ...]
    act: Callable[[], object]


def call(name: str, *arguments: object) -> int:
    """A function of the C library; raises OSError."""
    result = int(getattr(LIBC, name)(*arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def syscall(number: int, *arguments: object) -> int:
    return call("syscall", number, *arguments)


def target(name: str) -> str:
    return TARGETS[name]


def dial(family: int, address: object, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> None:
    with socket.socket(family, kind, protocol) as one:
        one.settimeout(3)
        one.connect(address)  # type: ignore[arg-type]


def shout(family: int, address: object) -> None:
    """A datagram, and the refusal that comes back."""
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(3)
        one.connect(address)  # type: ignore[arg-type]
        one.send(b"intruder")
        one.recv(1)


def listen(family: int, address: object, *options: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        for option in options:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(address)  # type: ignore[arg-type]
        one.listen()


def open_socket(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(path: str, text: bytes = b"intruder") -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def create(directory: str) -> None:
    with open(os.path.join(directory, "intruder"), "ab") as file:
        file.write(b"intruder")


def rename(path: str) -> None:
    os.rename(path, path + ".gone")


def nothing_in(directory: str) -> None:
    if found := os.listdir(directory):
        raise OSError(errno.EEXIST, f"there is {found}")


def no_descriptors() -> None:
    open_ones = [n for n in os.listdir("/proc/self/fd") if int(n) > 2 and os.path.exists(f"/proc/self/fd/{n}")]
    if open_ones:
        raise OSError(errno.EEXIST, f"open: {open_ones}")


def status_is(field: str, wanted: str) -> None:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = next(line.split(":\t")[1] for line in lines if line.startswith(field))
    if found != wanted:
        raise OSError(errno.EEXIST, found)


def only_own_processes() -> None:
    found = [int(n) for n in os.listdir("/proc") if n.isdigit()]
    if sorted(found) != [1, os.getpid()]:
        raise OSError(errno.EEXIST, str(found))


def only_loopback() -> None:
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        raise OSError(errno.EEXIST, str(socket.if_nameindex()))


def only_plain_devices() -> None:
    extra = set(os.listdir("/dev")) - {
        *("null", "zero", "full", "random", "urandom"),
        *("fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm"),
        *(("tty", "mqueue") if IS_CONTAINER else ()),
    }
    if extra:
        raise OSError(errno.EEXIST, str(extra))


def no_shared_memory() -> None:
    if len(Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()) > 1:
        raise OSError(errno.EEXIST, "segments of others")


def clone_user_namespace() -> None:
    if syscall(NUMBERS["clone"], NEWUSER | 17, 0, 0, 0, 0) == 0:
        os._exit(0)


def take_loopback_down() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, 0x8914, struct.pack("16sH14x", b"lo", 0))


def add_route_netlink() -> None:
    """RTM_NEWADDR 10.0.0.1/8 on lo, acknowledged."""
    body = struct.pack("=BBBBI", socket.AF_INET, 8, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([10, 0, 0, 1]))
    message = struct.pack("=IHHII", 16 + len(body), 20, 1 | 4 | 0x400, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as one:
        one.send(message)
        number = -struct.unpack_from("=i", one.recv(4096), 16)[0]
    if number:
        raise OSError(number, "refused")


def gain_capabilities() -> None:
    header, sets = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *(0xFFFFFFFF,) * 6)
    call("capset", ctypes.create_string_buffer(header), ctypes.create_string_buffer(sets))


def remount_writable() -> None:
    call("mount", b"none", b"/", None, 32 | 4096, None)  # MS_REMOUNT | MS_BIND, not read-only


def set_mount_writable() -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=QQQQ", 0, 1, 0, 0), 32)
    syscall(442, -100, b"/", 0, attributes, 32)


def own_environment() -> None:
    """Nothing but what a service is given."""
    given = {"PATH", "HOME", "USER", "LANG", "TZ", "INTRUDER_TARGETS", "LC_CTYPE"}
    if IS_CONTAINER:
        given |= {"TULLE_TEST_POD", "container", "HOSTNAME", "TERM", "PWD", "SHLVL"}  # podman's, and its shell's
    if extra := set(os.environ) - given:
        raise OSError(errno.EEXIST, str(extra))


def says_nothing(path: str) -> None:
    with open(path, "rb") as file:
        if found := file.read(100):
            raise OSError(errno.EEXIST, str(found))


def no_other_proc() -> None:
    """No file system of the box's that shows processes or devices, but the pod's own."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        path, kind = before.split(" ")[4], after.split(" ")[0]
        shows = kind in ("proc", "mqueue", "tracefs", "debugfs") or (kind == "devtmpfs" and os.path.isdir(path))
        if shows and not f"{path}/".startswith(("/proc/", "/dev/")):  # those are tried by themselves
            raise OSError(errno.EEXIST, path)


def no_terminal() -> None:
    for descriptor in range(3):
        if os.isatty(descriptor):
            raise OSError(errno.EEXIST, f"{descriptor} is a terminal")
    os.open("/dev/tty", os.O_RDWR)


def push_into_terminal() -> None:
    fcntl.ioctl(0, 0x5412, b"x")  # TIOCSTI


def every_other_family() -> None:
    """Families of sockets from 0 on; raises what is not refused as the filter does."""
    for family in {*range(64)} - {0, 1, 2, 10, 16}:
        for kind in (STREAM, DGRAM, RAW, socket.SOCK_SEQPACKET):
            try:
                open_socket(family, kind)
            except OSError as fault:
                if fault.errno == errno.EAFNOSUPPORT:
                    continue
                raise
            raise OSError(errno.EEXIST, f"family {family}")
    raise OSError(errno.EAFNOSUPPORT, "every one")


def rare_protocols() -> None:
    """SCTP, DCCP, UDP-Lite, SMC, L2TP: each would load a module of the kernel."""
    for kind, protocol in (
        (STREAM, 132),
        (socket.SOCK_SEQPACKET, 132),
        (6, 33),
        (DGRAM, 136),
        (STREAM, 256),
        (DGRAM, 115),
    ):
        try:
            open_socket(INET, kind, protocol)
        except OSError as fault:
            if fault.errno != errno.EPROTONOSUPPORT:
                raise
            continue
        raise OSError(errno.EEXIST, f"protocol {protocol}")
    raise OSError(errno.EPROTONOSUPPORT, "every one")


def join_group() -> None:
    with socket.socket(INET, DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + bytes(4))


def fast_open(address: tuple[str, int]) -> None:
    """Data with the first packet, which some filters forget."""
    with socket.socket(INET, STREAM) as one:
        one.sendto(b"intruder", 0x20000000, address)  # MSG_FASTOPEN


def open_queue(name: bytes) -> None:
    descriptor = LIBC.mq_open(name, os.O_RDONLY)
    if descriptor == -1:
        raise OSError(ctypes.get_errno(), "mq_open")
    os.close(descriptor)


def system_v(kind: str, key: int) -> None:
    call(kind, *((key, 0, 0) if kind != "msgget" else (key, 0)))


def process_limit() -> None:
    """Starts threads, which count as processes, until it is refused; ends them all."""
    gate, most = _thread.allocate_lock(), 20_000
    _thread.stack_size(65536)

    def wait() -> None:
        with gate:
            pass

    with gate:
        for _ in range(most):
            try:
                _thread.start_new_thread(wait, ())
            except RuntimeError as fault:
                raise OSError(errno.EAGAIN, str(fault)) from None


def core_limit() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise OSError(errno.EEXIST, str(resource.getrlimit(resource.RLIMIT_CORE)))


def ended_first() -> None:
    if int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")) < 500:
        raise OSError(errno.EEXIST, "as important as Tulle")


def fill_memory(directory: str) -> None:
    """Writes a file as large as half of the box's memory."""
    path = os.path.join(directory, "large")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with open(path, "wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, total // 2)
        finally:
            os.unlink(path)


def call_32_bit() -> None:
    """getpid by the 32-bit door of x86_64, which a table of 64-bit calls does not see."""
    if os.uname().machine != "x86_64":
        raise OSError(errno.ENOSYS, "there is no such door")
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if result < 0:
        raise OSError(-result, "int 0x80")


def in_child(act: Callable[[], object]) -> None:
    """Tries what may end the process that does it; raises what became of that."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except OSError as fault:
            os._exit(fault.errno or 255)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise OSError(signal.Signals(os.WTERMSIG(status)).name)
    if os.WEXITSTATUS(status):
        raise OSError(os.WEXITSTATUS(status), "refused")


def signal_everybody() -> None:
    """Every process that this one may signal, but pid 1 and itself: in a pod of one process there is none."""
    os.kill(-1, 0)


def become_watched() -> None:
    """The kernel tells this process of what the box's processes do: task statistics and process events."""
    with socket.socket(16, DGRAM, 11) as one:  # NETLINK_CONNECTOR
        one.bind((0, 1))


def enter_own_namespace() -> None:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        call("setns", descriptor, NEWNET)
    finally:
        os.close(descriptor)


HOST4 = ("127.0.0.1", int(TARGETS.get("tcp_port", "1")))
SUPERVISOR = int(TARGETS.get("supervisor", "0"))
INET, INET6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
REUSE = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)

ATTEMPTS = [
    # Tulle's own sockets
    Attempt("connect to the admin socket by path", ("ENOENT",), lambda: dial(UNIX, target("admin_socket"))),
    Attempt("connect to the agent's socket by path", ("ENOENT",), lambda: dial(UNIX, target("agent_socket"))),
    Attempt("connect to the forward proxy's socket by path", ("ENOENT",), lambda: dial(UNIX, target("forward_socket"))),
    Attempt(
        "connect to an abstract socket of the host", ("ECONNREFUSED",), lambda: dial(UNIX, "\0" + target("abstract"))
    ),
    Attempt("use a descriptor left open, the broker's among them", ("done",), no_descriptors),
    Attempt("find the supervisor's environment in its own", ("done",), own_environment),
    Attempt("reach a terminal", ("ENXIO", "ENOENT"), no_terminal),
    Attempt("push words into a terminal (TIOCSTI)", ("ENOTTY",), push_into_terminal),
    # networks
    Attempt("dial the host's loopback, IPv4", ("ECONNREFUSED",), lambda: dial(INET, HOST4)),
    Attempt("dial the host's loopback, IPv6", ("ECONNREFUSED",), lambda: dial(INET6, ("::1", HOST4[1]))),
    Attempt(
        "send a datagram to the host's loopback",
        ("ECONNREFUSED",),
        lambda: shout(INET, ("127.0.0.1", int(target("udp_port")))),
    ),
    Attempt("dial the metrics port", ("ECONNREFUSED",), lambda: dial(INET, ("127.0.0.1", int(target("metrics_port"))))),
    Attempt("dial another pod's port", ("ECONNREFUSED",), lambda: dial(INET, ("127.0.0.1", int(target("pod_port"))))),
    Attempt("dial the outside by TCP", ("ENETUNREACH",), lambda: dial(INET, ("192.0.2.1", 80))),
    Attempt(
        "dial the outside by TCP, IPv6", ("ENETUNREACH", "EADDRNOTAVAIL"), lambda: dial(INET6, ("2001:db8::1", 80))
    ),
    Attempt("send a datagram outside", ("ENETUNREACH",), lambda: shout(INET, ("192.0.2.1", 53))),
    Attempt(
        "dial an address of the host",
        ("ENETUNREACH", "ECONNREFUSED"),
        lambda: dial(INET, (target("host_address"), HOST4[1])),
    ),
    Attempt("see another network interface", ("done",), only_loopback),
    Attempt("open a raw socket", ("EPERM",), lambda: open_socket(INET, RAW, 1)),
    Attempt("open a packet socket", ("EAFNOSUPPORT",), lambda: open_socket(17, RAW, 0x300)),
    Attempt("open a vsock, which no network namespace confines", ("EAFNOSUPPORT",), lambda: open_socket(40, STREAM)),
    Attempt("open an AF_ALG socket", ("EAFNOSUPPORT",), lambda: open_socket(38, socket.SOCK_SEQPACKET)),
    Attempt("open a socket of any other family", ("EAFNOSUPPORT",), every_other_family),
    Attempt("open a socket of a rare protocol (SCTP, DCCP, SMC)", ("EPROTONOSUPPORT",), rare_protocols),
    Attempt("hear of processes by the kernel's connector", ("EPROTONOSUPPORT",), become_watched),
    Attempt(
        "dial the host's loopback by a mapped IPv6 address",
        ("ECONNREFUSED",),
        lambda: dial(INET6, ("::ffff:127.0.0.1", HOST4[1])),
    ),
    Attempt("dial the host's loopback as 0.0.0.0", ("ECONNREFUSED",), lambda: dial(INET, ("0.0.0.0", HOST4[1]))),
    Attempt("dial the host's loopback with data in the first packet", ("ECONNREFUSED",), lambda: fast_open(HOST4)),
    Attempt("dial the cloud's metadata", ("ENETUNREACH",), lambda: dial(INET, ("169.254.169.254", 80))),
    Attempt("join a multicast group of the outside", ("ENODEV",), join_group),
    Attempt(
        "send a datagram to a virtual address",
        ("ECONNREFUSED",),
        lambda: shout(INET, (target("virtual_address"), int(target("virtual_port")))),
    ),
    Attempt(
        "open an MPTCP socket, which the redirect may not see",
        ("EPROTONOSUPPORT",),
        lambda: open_socket(INET, STREAM, 262),
    ),
    Attempt("change nftables", ("EPROTONOSUPPORT",), lambda: open_socket(16, RAW, 12)),
    Attempt("ask sock_diag about sockets", ("EPROTONOSUPPORT",), lambda: open_socket(16, RAW, 4)),
    Attempt("add an address", ("EPERM",), add_route_netlink),
    Attempt("take the loopback down", ("EPERM",), take_loopback_down),
    # the pod's listener
    Attempt("bind the redirect's port", ("EADDRINUSE",), lambda: listen(INET, ("127.0.0.1", 15001))),
    Attempt("bind the redirect's port, reusing", ("EADDRINUSE",), lambda: listen(INET, ("127.0.0.1", 15001), *REUSE)),
    Attempt(
        "bind the redirect's port on any address", ("EADDRINUSE",), lambda: listen(INET, ("0.0.0.0", 15001), *REUSE)
    ),
    Attempt(
        "bind the redirect's port on any address, IPv6", ("EADDRINUSE",), lambda: listen(INET6, ("::", 15001), *REUSE)
    ),
    Attempt(
        "dial the pod's listener directly (the proxy sees that it was meant, and closes)",
        ("done",),
        lambda: dial(INET, ("127.0.0.1", 15001)),
    ),
    Attempt(
        "listen at a virtual address of another service",
        ("EADDRINUSE",) if BY_ADDRESSES else ("done",),
        lambda: listen(INET, (target("virtual_address"), int(target("virtual_port"))), *REUSE),
    ),
    Attempt(
        "listen at the port of another service, on any address",
        ("EADDRINUSE",) if BY_ADDRESSES else ("done",),
        lambda: listen(INET, ("0.0.0.0", int(target("virtual_port"))), *REUSE),
    ),
    # other processes
    Attempt("see other processes", ("done",), only_own_processes),
    Attempt("signal the supervisor", ("ESRCH",), lambda: os.kill(SUPERVISOR, 0)),
    Attempt("open a pidfd of the supervisor", ("ESRCH",), lambda: os.pidfd_open(SUPERVISOR)),
    Attempt("read the supervisor's environment", ("ENOENT",), lambda: read(f"/proc/{SUPERVISOR}/environ")),
    Attempt("kill pid 1 (ignored by the kernel)", ("done",), lambda: os.kill(1, 9)),
    Attempt("read pid 1's environment", ("EACCES",), lambda: read("/proc/1/environ")),
    Attempt("read pid 1's memory", ("EACCES",), lambda: read("/proc/1/mem")),
    Attempt("write pid 1's memory", ("EACCES",), lambda: write("/proc/1/mem")),
    Attempt("list pid 1's descriptors", ("EACCES",), lambda: os.listdir("/proc/1/fd")),
    Attempt("walk out by pid 1's root", ("EACCES",), lambda: os.listdir("/proc/1/root/")),
    Attempt("ptrace pid 1", ("EPERM",), lambda: call("ptrace", 16, 1, 0, 0)),
    Attempt("take pid 1's descriptors by pidfd_getfd", ("EPERM",), lambda: syscall(438, os.pidfd_open(1), 0, 0)),
    Attempt(
        "read pid 1's memory by process_vm_readv", ("EPERM",), lambda: call("process_vm_readv", 1, None, 0, None, 0, 0)
    ),
    Attempt("stop pid 1 (ignored by the kernel)", ("done",), lambda: os.kill(1, signal.SIGSTOP)),
    Attempt("read pid 1's system call", ("EACCES", "EPERM", "ENOENT"), lambda: read("/proc/1/syscall")),
    Attempt("slow pid 1's timers", ("EACCES", "EPERM"), lambda: write("/proc/1/timerslack_ns", b"1")),
    Attempt("shield pid 1 from the memory's end", ("EACCES",), lambda: write("/proc/1/oom_score_adj")),
    Attempt("enter pid 1's namespaces by pidfd", ("EPERM",), lambda: call("setns", os.pidfd_open(1), NEWNET)),
    Attempt("signal every process", ("ESRCH",), signal_everybody),
    Attempt("open a message queue of the host", ("ENOENT",), lambda: open_queue(target("queue").encode())),
    Attempt("attach System V memory of the host", ("ENOENT",), lambda: system_v("shmget", int(target("key")))),
    Attempt("open a System V semaphore of the host", ("ENOENT",), lambda: system_v("semget", int(target("key")))),
    Attempt("open a System V queue of the host", ("ENOENT",), lambda: system_v("msgget", int(target("key")))),
    Attempt("see System V memory of others", ("done",), no_shared_memory),
    # files
    Attempt("write the mesh file", REFUSED, lambda: write(target("mesh_file"))),
    Attempt("rename the mesh file", REFUSED, lambda: rename(target("mesh_file"))),
    Attempt("create in the working directory", REFUSED, lambda: create(".")),
    Attempt("create in Tulle's state directory", ("ENOENT", *REFUSED), lambda: create(target("state_directory"))),
    Attempt("read Tulle's logs", ("ENOENT",), lambda: os.listdir(target("state_directory") + "/logs")),
    Attempt("create in Tulle's runtime directory", ("ENOENT", *REFUSED), lambda: create(target("runtime_directory"))),
    Attempt("create in /etc", REFUSED, lambda: create("/etc")),
    Attempt("write /etc/passwd", REFUSED, lambda: write("/etc/passwd")),
    Attempt("write /etc/hosts", REFUSED, lambda: write("/etc/hosts")),
    Attempt("write /etc/nsswitch.conf", REFUSED, lambda: write("/etc/nsswitch.conf")),
    Attempt("create in /usr", REFUSED, lambda: create("/usr")),
    Attempt("create in the interpreter's directory", REFUSED, lambda: create(sys.prefix)),
    Attempt("create beside Tulle's code", ("ENOENT", *REFUSED), lambda: create(target("code_directory"))),
    Attempt("create in /var/lib", REFUSED, lambda: create("/var/lib")),
    Attempt("create in /dev", REFUSED, lambda: create("/dev")),
    Attempt("create a cgroup", ("ENOENT", *REFUSED), lambda: os.mkdir("/sys/fs/cgroup/intruder")),
    Attempt("write a kernel setting", REFUSED, lambda: write("/proc/sys/kernel/core_pattern")),
    Attempt("write a network setting", REFUSED, lambda: write("/proc/sys/net/ipv4/ip_unprivileged_port_start")),
    Attempt("write any setting below /proc", REFUSED, lambda: write("/proc/sys/vm/drop_caches")),
    Attempt("press the magic key", ("ENOENT", *REFUSED), lambda: write("/proc/sysrq-trigger")),
    Attempt(
        "write a setting below /sys",
        REFUSED,
        lambda: write("/sys/power/state") if os.path.exists("/sys/power/state") else write("/sys/kernel/profiling"),
    ),
    Attempt("read the names of keys", ("done",), lambda: says_nothing("/proc/keys")),
    Attempt("read the kernel's memory", ("done", "EACCES", "ENOENT"), lambda: says_nothing("/proc/kcore")),
    Attempt("read the kernel's log", ("EPERM",), lambda: call("klogctl", 3, None, 0)),
    Attempt("see the box's processes or devices by another mount", ("done",), no_other_proc),
    Attempt(
        "walk out of the working directory by ..", ("ENOENT",), lambda: read(f"{'../' * 30}{target('file_in_tmp')}")
    ),
    Attempt("see a device of the host", ("done",), only_plain_devices),
    Attempt("make a device node", ("EPERM",), lambda: os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1))),
    Attempt("see the host's /run/user", ("ENOENT",), lambda: os.listdir("/run/user")),
    Attempt("see another's file in /tmp", ("ENOENT",), lambda: read(target("file_in_tmp"))),
    # namespaces, mounts and what would give them
    Attempt("nest a user namespace by unshare", ("EPERM",), lambda: call("unshare", NEWUSER)),
    Attempt("nest a user namespace by clone", ("EPERM",), clone_user_namespace),
    Attempt("nest a user namespace by clone3", ("ENOSYS",), lambda: syscall(435, None, 0)),
    Attempt("make a network namespace", ("EPERM",), lambda: call("unshare", NEWNET)),
    Attempt("make a mount namespace", ("EPERM",), lambda: call("unshare", NEWNS)),
    Attempt("make a pid namespace", ("EPERM",), lambda: call("unshare", NEWPID)),
    Attempt("enter a namespace", ("EPERM",), enter_own_namespace),
    Attempt("mount a file system", ("EPERM",), lambda: call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None)),
    Attempt("remount the tree writable", ("EPERM",), remount_writable),
    Attempt("make the tree writable by mount_setattr", ("EPERM",), set_mount_writable),
    Attempt("uncover /run", ("EPERM",), lambda: call("umount2", b"/run", 2)),
    Attempt("copy a mount by open_tree", ("EPERM",), lambda: syscall(428, -100, b"/", 1)),
    Attempt("open a file system by fsopen", ("EPERM",), lambda: syscall(430, b"tmpfs", 0)),
    Attempt("change the root", ("EPERM",), lambda: syscall(NUMBERS["pivot_root"], b"/", b"/tmp")),
    Attempt("chroot", ("EPERM",), lambda: os.chroot("/tmp")),
    # privileges and other doors of the kernel
    Attempt("hold a capability", ("done",), lambda: status_is("CapPrm", "0" * 16)),
    Attempt("keep a bounding set", ("done",), lambda: status_is("CapBnd", "0" * 16)),
    Attempt("gain privileges by a set-user-id program", ("done",), lambda: status_is("NoNewPrivs", "1")),
    Attempt("gain capabilities by capset", ("EPERM",), gain_capabilities),
    Attempt("become root", ("EPERM", "EINVAL"), lambda: os.setuid(0)),
    Attempt("drop groups", ("EPERM",), lambda: os.setgroups([])),
    Attempt("io_uring", ("EPERM",), lambda: syscall(425, 1, None)),
    Attempt("load a BPF program", ("EPERM",), lambda: syscall(NUMBERS["bpf"], 0, None, 0)),
    Attempt("perf_event_open", ("EPERM",), lambda: syscall(NUMBERS["perf_event_open"], None, 0, 0, 0, 0)),
    Attempt("read keys of the user's keyring", ("EPERM",), lambda: syscall(NUMBERS["keyctl"], 0, -4, 0)),
    Attempt("call by the 32-bit door", ("ENOSYS",), lambda: in_child(call_32_bit)),
    Attempt("call by the x32 door", ("ENOSYS",), lambda: in_child(lambda: syscall(0x40000000 | 39))),
    Attempt("raise a priority", ("EACCES", "EPERM"), lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
    Attempt("run in real time", ("EPERM",), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    Attempt("set the clock", ("EPERM",), lambda: time.clock_settime(time.CLOCK_REALTIME, time.time())),
    Attempt("rename the host", ("EPERM",), lambda: socket.sethostname("intruder")),
    Attempt("userfaultfd", ("EPERM",), lambda: syscall(NUMBERS["userfaultfd"], 0)),
    # resources
    Attempt("multiply for ever, as processes or threads", ("EAGAIN",), process_limit),
    Attempt("leave core files", ("done",), core_limit),
    Attempt("outlive Tulle when memory ends (services are ended first)", ("done",), ended_first),
    Attempt("fill the memory by /tmp", ("ENOSPC",), lambda: fill_memory("/tmp")),
    Attempt("fill the memory by /dev/shm", ("ENOSPC",), lambda: fill_memory("/dev/shm")),
    # open as meant
    Attempt("write the private /tmp", ("done",), lambda: create("/tmp")),
    Attempt("write /dev/shm", ("done",), lambda: create("/dev/shm")),
    Attempt("listen on port 80 of any address", ("done",), lambda: listen(INET, ("0.0.0.0", 80))),
    Attempt("listen on port 80 of any address, IPv6", ("done",), lambda: listen(INET6, ("::", 80))),
    # open, and said so
    Attempt("read a world-readable file of the box", ("done",), lambda: read(target("mesh_file"))),
    Attempt(
        "read a private file of the user who started Tulle, outside of Tulle's directories",
        ("done",) if IS_ORDINARY else ("EACCES",),
        lambda: read(target("private_file")),
    ),
    Attempt(
        "connect to a socket in the tree outside of /run and /tmp that its permissions open to this user",
        ("done",) if IS_ORDINARY else ("EACCES",),
        lambda: dial(UNIX, target("socket_in_tree")),
    ),
]


_ABSENT = ("ENOENT",)
_OWN = ("done",)
IN_CONTAINER = {
    # pid 1 is the service itself
    "read pid 1's environment": _OWN,
    "read pid 1's memory": ("EIO",),
    "write pid 1's memory": ("EIO",),
    "list pid 1's descriptors": _OWN,
    "walk out by pid 1's root": _OWN,
    "read pid 1's system call": _OWN,
    "shield pid 1 from the memory's end": ("EINVAL",),
    # of the box's files there is nothing
    "write the mesh file": _ABSENT,
    "rename the mesh file": _ABSENT,
    "create in /var/lib": _ABSENT,
    "read a world-readable file of the box": _ABSENT,
    "read a private file of the user who started Tulle, outside of Tulle's directories": _ABSENT,
    "connect to a socket in the tree outside of /run and /tmp that its permissions open to this user": _ABSENT,
    # libseccomp knows no other answer
    "call by the 32-bit door": ("SIGSYS",),
    "call by the x32 door": ("SIGSYS",),
}
"""Rows that a container answers otherwise than a pod of the box's own files."""
AS_ROOT_IN_CONTAINER = {
    # the image's files, in this container's own memory, are root's
    "create in /etc": _OWN,
    "write /etc/passwd": _OWN,
    "create in /dev": _OWN,
    "see a device of the host": ("EEXIST",),
    "become root": _OWN,
}
"""Rows that root without a capability answers otherwise."""


def outcome_of(attempt: Attempt) -> tuple[str, str]:
    """The errno's name, or `done`; and the words that came with it."""
    try:
        attempt.act()
    except OSError as fault:
        return errno.errorcode.get(fault.errno or 0, str(fault)), str(fault)
    return "done", ""


def report(attempts: list[Attempt]) -> None:
    """Makes every attempt, one JSON object each, and says when that is done."""
    for attempt in attempts:
        outcome, words = outcome_of(attempt)
        row = {"what": attempt.what, "expected": attempt.expected, "outcome": outcome, "words": words}
        print(json.dumps(row), flush=True)
    print(json.dumps({"end": len(attempts)}), flush=True)


if __name__ == "__main__":
    report(ATTEMPTS)
