"""What a field may hold: types of text and numbers, each with the reason it gives when it refuses."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from tulle.model.names import is_label, is_trust_domain


@dataclass(frozen=True, slots=True)
class Check:
    """A claim about a text."""

    expects: str
    """Ends the sentence `expected …`."""
    holds: Callable[[str], bool]
    pattern: str = ""
    """The claim, or a weaker one, as a regular expression for editors."""


@dataclass(frozen=True, slots=True)
class Between:
    """A claim about a number, ends included."""

    low: float
    high: float


def _is_pattern(text: str) -> bool:
    return (
        bool(text)
        and text.isprintable()
        and "*" not in (text[1:-1] if len(text) > 1 else "")
        and text != "**"
        and not (len(text) > 1 and text[0] == "*" == text[-1])
    )


def _is_service_pattern(text: str) -> bool:
    first, slash, second = text.partition("/")
    if not slash:
        return text == "*" or is_label(text)
    return is_label(first) and (second == "*" or is_label(second))


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) < 254 and re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", text) is not None
    return True


def _is_hostname(text: str) -> bool:
    return re.fullmatch(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text) is not None


def _is_clean(text: str) -> bool:
    return "\0" not in text


def _is_http_path(text: str) -> bool:
    return re.fullmatch(r"/[!-~]*", text) is not None and "?" not in text and "#" not in text


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

Text = Annotated[str, Check("text", _is_clean)]
Label = Annotated[
    str,
    Check("a name of lower-case letters, digits and dashes, at most 63", is_label, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
]
ServiceRef = Annotated[
    str,
    Check(
        "`name` or `namespace/name`",
        lambda t: _is_service_pattern(t) and "*" not in t,
        "^([a-z0-9-]+/)?[a-z0-9-]+$",
    ),
]
ServicePattern = Annotated[
    str,
    Check(
        "`name`, `namespace/name`, `namespace/*` or `*`", _is_service_pattern, r"^(\*|([a-z0-9-]+/)?([a-z0-9-]+|\*))$"
    ),
]
TrustDomain = Annotated[str, Check("a trust domain such as `shop.local`", is_trust_domain, "^[a-z0-9._-]+$")]
Pattern = Annotated[str, Check("text with `*` at most once, first or last", _is_pattern, r"^([^*]+\*?|\*[^*]*)$")]
Host = Annotated[str, Check("an IP address or a DNS name", _is_host, "^[A-Za-z0-9_:.-]+$")]
Hostname = Annotated[str, Check("a lower-case host name, or `*.suffix`", _is_hostname, r"^(\*\.)?[a-z0-9.-]+$")]
HttpPath = Annotated[str, Check("a path that begins with `/`, without query", _is_http_path, "^/[!-~]*$")]
Method = Annotated[
    str, Check("an HTTP method in capitals", lambda t: re.fullmatch(r"[A-Z][A-Z-]*", t) is not None, "^[A-Z][A-Z-]*$")
]
HeaderName = Annotated[
    str, Check("an HTTP header name", lambda t: re.fullmatch(_TOKEN, t) is not None, "^[!#-'*+.0-9A-Z^-z|~-]+$")
]
EnvName = Annotated[
    str,
    Check("a variable's name", lambda t: re.fullmatch(r"[^=\0]+", t) is not None, "^[^=]+$"),
]
AbsolutePath = Annotated[
    str, Check("an absolute path", lambda t: t.startswith("/") and "\0" not in t and ".." not in t.split("/"), "^/")
]
Port = Annotated[int, Between(1, 65535)]
Weight = Annotated[int, Between(0, 1_000_000)]
Seconds = Annotated[float, Between(0, 3600)]
