"""What a field may hold: types of text and numbers, each with the reason it gives when it refuses."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from tulle.model.checks import (
    host_hint,
    hostname_hint,
    is_clean,
    is_header_value,
    is_host,
    is_host_pattern,
    is_hostname,
    is_http_path,
    is_method_pattern,
    is_path_pattern,
    is_pattern,
    is_route_path,
    is_service_pattern,
    method_hint,
    path_hint,
)
from tulle.model.names import is_label, is_trust_domain


@dataclass(frozen=True, slots=True)
class Check:
    """A claim about a text."""

    expects: str
    """Ends the sentence `expected …`."""
    holds: Callable[[str], bool]
    pattern: str = ""
    """The claim, or a weaker one, as a regular expression for editors."""
    hint: Callable[[str], str] | None = None
    """What to write instead of a text that fails; may say nothing."""


@dataclass(frozen=True, slots=True)
class Between:
    """A claim about a number, ends included."""

    low: float
    high: float


_LABEL_PART = re.compile(r"[a-z0-9-]+")
_NAME_PART = re.compile(r"[A-Za-z0-9._/-]+")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

Text = Annotated[str, Check("text", is_clean)]
Label = Annotated[
    str,
    Check("a name of lower-case letters, digits and dashes, at most 63", is_label, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
]
ServiceRef = Annotated[
    str,
    Check(
        "`name` or `namespace/name`",
        lambda t: is_service_pattern(t) and "*" not in t,
        "^([a-z0-9-]+/)?[a-z0-9-]+$",
    ),
]
ServicePattern = Annotated[
    str,
    Check(
        "`name`, `namespace/name`, `namespace/*` or `*`", is_service_pattern, r"^(\*|([a-z0-9-]+/)?([a-z0-9-]+|\*))$"
    ),
]
TrustDomain = Annotated[str, Check("a trust domain such as `shop.local`", is_trust_domain, "^[a-z0-9._-]+$")]
_STARRED = "with `*` at most once, first or last"
NamespacePattern = Annotated[
    str,
    Check(f"a namespace, {_STARRED}", lambda t: is_pattern(t, _LABEL_PART), r"^([a-z0-9-]+\*?|\*[a-z0-9-]*)$"),
]
PrincipalPattern = Annotated[
    str,
    Check(
        f"a principal, {_STARRED}",
        lambda t: is_pattern(t, _NAME_PART),
        r"^([A-Za-z0-9._/-]+\*?|\*[A-Za-z0-9._/-]*)$",
        lambda t: f"write `{t.removeprefix('spiffe://')}`" if t.startswith("spiffe://") else "",
    ),
]
MethodPattern = Annotated[
    str,
    Check(f"an HTTP method in capitals, {_STARRED}", is_method_pattern, r"^([^*a-z]+\*?|\*[^*a-z]*)$", method_hint),
]
PathPattern = Annotated[
    str,
    Check(
        f"a path that begins with `/`, {_STARRED}, without query",
        is_path_pattern,
        r"^(/[^*?#]*\*?|\*[^*?#]*)$",
        path_hint,
    ),
]
HostPattern = Annotated[
    str,
    Check(
        f"a host name {_STARRED}, without port",
        is_host_pattern,
        r"^([A-Za-z0-9_.-]+\*?|\*[A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])$",
        host_hint,
    ),
]
Host = Annotated[
    str,
    Check(
        "an IP address or a DNS name",
        is_host,
        "^[A-Za-z0-9_:.-]+$",
        lambda t: "the port has a field of its own" if re.search(r":[0-9]+$", t) else "",
    ),
]
Hostname = Annotated[
    str,
    Check(
        "a lower-case host name, or `*.suffix`, without port",
        is_hostname,
        r"^(\*\.)?[a-z0-9_.-]+$",
        hostname_hint,
    ),
]
HttpPath = Annotated[str, Check("a path that begins with `/`, without query", is_http_path, "^/[!-~]*$", path_hint)]
RoutePath = Annotated[str, Check("a path that begins with `/`, without query", is_route_path, "^/[!-~]*$", path_hint)]
Method = Annotated[
    str,
    Check(
        "an HTTP method in capitals",
        lambda t: re.fullmatch(r"[A-Z][A-Z-]*", t) is not None,
        "^[A-Z][A-Z-]*$",
        method_hint,
    ),
]
HeaderName = Annotated[
    str,
    Check(
        "an HTTP header name",
        lambda t: re.fullmatch(_TOKEN, t) is not None,
        "^[!#-'*+.0-9A-Z^-z|~-]+$",
        lambda t: f"write `{t.strip(' :')}`" if re.fullmatch(_TOKEN, t.strip(" :")) else "",
    ),
]
HeaderValue = Annotated[
    str,
    Check(
        "text without blanks at its ends", is_header_value, "", lambda t: f"write `{t.strip()}`" if t.strip() else ""
    ),
]
EnvName = Annotated[
    str,
    Check("a variable's name", lambda t: re.fullmatch(r"[^=\0]+", t) is not None, "^[^=]+$"),
]
OwnPath = Annotated[
    str, Check("a path without `..`", lambda t: t != "" and "\0" not in t and ".." not in t.split("/"), ".")
]
UserName = Annotated[
    str,
    Check(
        "a user's name or uid",
        lambda t: re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", t) is not None,
        "^[A-Za-z0-9_.-]+$",
    ),
]
UnitName = Annotated[
    str,
    Check(
        "a systemd unit such as `web.service`",
        lambda t: re.fullmatch(r"[A-Za-z0-9:_.\\@-]+\.(service|scope|slice)", t) is not None,
        r"^[A-Za-z0-9:_.\\@-]+\.(service|scope|slice)$",
        lambda t: f"write `{t}.service`" if re.fullmatch(r"[A-Za-z0-9:_\\@-]+", t) else "",
    ),
]
CgroupPath = Annotated[
    str,
    Check(
        "a path from the root of the cgroup2 tree, `/system.slice/web.service`",
        lambda t: re.fullmatch(r"(/[^/\0]+)+", t) is not None and not {".", ".."}.intersection(t.split("/")),
        "^(/[^/]+)+$",
    ),
]
ImageName = Annotated[
    str,
    Check(
        "the name of an image, `registry/name:tag`",
        lambda t: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", t) is not None,
        "^[A-Za-z0-9][A-Za-z0-9._/:@-]*$",
    ),
]
MountText = Annotated[
    str,
    Check(
        "`source:target` or `source:target:ro`, with a target that begins with `/`",
        lambda t: (
            re.fullmatch(r"[^:,\0]+:/[^:,\0]*(:ro|:rw)?", t) is not None and ".." not in t.split(":")[1].split("/")
        ),
        "^[^:,]+:/[^:,]*(:ro|:rw)?$",
    ),
]
Octets = Annotated[
    str,
    Check(
        "octets such as `64Mi`, `512Ki`, `1Gi` or a number",
        lambda t: re.fullmatch(r"[1-9][0-9]{0,14}(Ki|Mi|Gi)?", t) is not None,
        "^[1-9][0-9]*(Ki|Mi|Gi)?$",
        lambda t: f"write `{t[:-1]}i`" if re.fullmatch(r"[1-9][0-9]*[KMG]", t) else "",
    ),
]
Cpus = Annotated[float, Between(0.01, 1024)]
Port = Annotated[int, Between(1, 65535)]
PortName = Annotated[
    str,
    Check(
        "the name of a port: letters, digits and dashes, at most 15, one of them a letter",
        lambda t: len(t) <= 15 and is_label(t) and re.search("[a-z]", t) is not None,
        "^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$",
        lambda t: "write it without quotes" if t.isdecimal() else "",
    ),
]
Weight = Annotated[int, Between(0, 1_000_000)]
Seconds = Annotated[float, Between(0, 3600)]
SomeSeconds = Annotated[float, Between(0.001, 3600)]
Times = Annotated[int, Between(1, 1000)]
