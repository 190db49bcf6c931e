"""The systemd unit of an installed mesh, as text. Pure."""

from collections.abc import Mapping, Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass

from tulle.cli.supervisors import PREFIX, SUFFIX

_LEAST_STOP_SECONDS = 90
_STOP_MARGIN_SECONDS = 30
"""For the proxy to drain (12 s), the agent to end (5 s), and a slow box."""


@dataclass(frozen=True, slots=True)
class MeshUnit:
    """What the unit of one mesh says."""

    mesh: str
    command: Sequence[str]
    """The supervisor, by absolute path."""
    manifests: str
    """The directory of its manifests."""
    home: str
    """Where relative paths in them start."""
    stop_seconds: float
    """What its services may take to stop, one after the other."""
    environment: Mapping[str, str]
    is_system: bool
    has_lingered: bool = False
    """Installing it made this user linger."""

    @property
    def text(self) -> str:
        """The whole unit file."""
        words = (*self.command, "--mesh", self.mesh, "--home", self.home, "--manifest", self.manifests)
        return _TEXT.format(
            mesh=self.mesh,
            verb="systemctl" if self.is_system else "systemctl --user",
            mounts=" ".join(map(_quoted, dict.fromkeys((self.manifests, self.home)))),
            command=" ".join(map(_quoted, words)),
            environment="".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in self.environment.items()),
            stop=max(_LEAST_STOP_SECONDS, int(self.stop_seconds) + _STOP_MARGIN_SECONDS),
            options=(_SYSTEM if self.is_system else _USER).format(mesh=self.mesh),
            target="multi-user.target" if self.is_system else "default.target",
            home=self.home.replace("%", "%%"),
            linger="yes" if self.has_lingered else "no",
        )


def unit_name(mesh: str) -> str:
    """`tulle-shop.service`."""
    return f"{PREFIX}{mesh}{SUFFIX}"


def noted(text: str) -> Mapping[str, str]:
    """What an installation noted of itself in the unit: `Home`, `Linger`. Empty where it is not ours."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    try:
        parser.read_string(text)
    except Error:
        return {}
    return {name: value.replace("%%", "%") for name, value in parser.items("X-Tulle")} if "X-Tulle" in parser else {}


def _quoted(word: str) -> str:
    """As systemd reads it back, specifiers and variables included."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and not set(plain) & set(" \t'\"\\;") else f'"{plain}"'


_TEXT = """\
# Written by `tulle install`, which writes it anew; `tulle uninstall` removes it.
# Changes of your own belong in a drop-in: {verb} edit tulle-{mesh}
[Unit]
Description=Tulle, the service mesh `{mesh}`
RequiresMountsFor={mounts}
# Nobody stands beside the box to reset a count: it is tried for ever.
StartLimitIntervalSec=0

[Service]
# The supervisor says when policies are in force, how pods are, and that it is alive (sd_notify).
Type=notify
NotifyAccess=main
ExecStart={command}
{environment}TimeoutStartSec=2min
WatchdogSec=2min
Restart=always
RestartSec=1
# Wrong usage: only another unit would help.
RestartPreventExitStatus=2
# The supervisor stops services in order; what is left when it has ended, or was killed, ends with it.
KillMode=mixed
TimeoutStopSec={stop}
# A service that takes too much memory is ended alone and started again by the supervisor, not the mesh with it.
OOMPolicy=continue
TasksMax=infinity
# Limits of containers are groups below the unit's own.
Delegate=yes
{options}
[Install]
WantedBy={target}

[X-Tulle]
Home={home}
Linger={linger}
"""

_SECCOMP = """\
# Services are started by the supervisor and inherit what follows: no option that a program of yours may need to do without.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# MemoryDenyWriteExecute=no: services compile as they run (Node, Java, LuaJIT).
# RestrictSUIDSGID=no: layers of images hold such files.
# RestrictNamespaces=no, PrivateUsers=no: pods are made of namespaces.
# ProtectHostname=no: each pod has a host name of its own.
# PrivateNetwork=no, IPAddressDeny=: doors are for the network; pods have none but the mesh.
"""

_USER = f"""\
RuntimeDirectory=tulle/{{mesh}}
RuntimeDirectoryMode=0700

{_SECCOMP}"""

_SYSTEM = f"""\
RuntimeDirectory=tulle/{{mesh}}
RuntimeDirectoryMode=0700
StateDirectory=tulle/{{mesh}}
StateDirectoryMode=0700
LogsDirectory=tulle/{{mesh}}
LogsDirectoryMode=0700

{_SECCOMP}
# /usr, /boot and /etc read-only; what services may write they say by `writable:`, which `strict` would forbid.
ProtectSystem=full
ReadWritePaths=-/etc/cni/net.d
# UMask=0022: podman unpacks for the users of containers. Tulle's own files say their mode.
# ProtectHome=no: services and their files may lie in a home. Pods see only their own of it.
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
KeyringMode=private
# ProtectKernelTunables=no: each pod's network lets its service have ports below 1024 (/proc/sys/net of that network).
# ProtectControlGroups=no: limits of containers are groups.
# PrivateDevices=no: a container has devices of its own (mknod). Pods see null, zero, full, random, urandom, tty alone.
# ProtectProc=no: who calls is read from /proc. Pods have a /proc of their own.
# AmbientCapabilities: none. Bounding set: namespaces and mounts (SYS_ADMIN), pods' networks (NET_ADMIN), doors below 1024, becoming
# each service's user, its files and limits, ending it, and what podman gives a container. Pods, agent and proxy drop theirs.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_SETFCAP CAP_CHOWN \\
    CAP_FOWNER CAP_FSETID CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_KILL CAP_SYS_CHROOT CAP_SYS_RESOURCE CAP_SYS_PTRACE CAP_MKNOD CAP_AUDIT_WRITE
"""
