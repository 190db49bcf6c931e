"""What leaves the node, and where to. Names are those of Prometheus' remote_write configuration where it has one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from tulle.model.checks import is_host
from tulle.model.fields import Between, Check, HeaderName, HeaderValue, Host, Text
from tulle.model.place import NOWHERE, Place
from tulle.model.resource import Resource


def is_push_url(text: str) -> bool:
    """An address that takes POST, without a secret in it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and is_host(parts.hostname or "")
        and port != 0
        and "@" not in parts.netloc
        and not parts.fragment
        and re.fullmatch(r"[!-~]+", text) is not None
    )


def push_url_hint(text: str) -> str:
    """What to write instead."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        whole = f"http://{text}" if "/" in text else f"http://{text}/api/v1/write"
        return f"write `{whole}`" if is_push_url(whole) else ""
    if "@" in rest.partition("/")[0]:
        return "no secret stands in a manifest: say `basic_auth: {username, password_file}`"
    return f"write `{scheme.lower()}://{rest}`" if is_push_url(f"{scheme.lower()}://{rest}") else ""


PushUrl = Annotated[
    str,
    Check(
        "a URL such as `http://metrics.example:9090/api/v1/write`, without user or password",
        is_push_url,
        "^https?://[^@#]+$",
        push_url_hint,
    ),
]
LabelName = Annotated[
    str,
    Check(
        "the name of a Prometheus label, none that begins with `__`",
        lambda t: re.fullmatch(r"(?!__)[A-Za-z_][A-Za-z0-9_]*", t) is not None,
        "^[A-Za-z_][A-Za-z0-9_]*$",
    ),
]
PushSeconds = Annotated[float, Between(1, 120)]
"""Beyond 120 a range of five minutes would hold fewer than two samples."""
AgeSeconds = Annotated[float, Between(60, 2_678_400)]
OWN_HEADERS = frozenset(
    {"authorization", "connection", "host", "transfer-encoding", "user-agent", "x-prometheus-remote-write-version"}
    | {"content-type", "content-encoding", "content-length"}
)
"""What `headers` may not replace."""
SpoolOctets = Annotated[int, Between(65_536, 17_179_869_184)]
Share = Annotated[float, Between(0, 1)]
LogOctets = Annotated[int, Between(65_536, 1_073_741_824)]
LogFiles = Annotated[int, Between(0, 10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """Who the node says it is, by name and password."""

    username: Text
    """As the receiver knows it."""
    password_file: Text
    """Holds the password; read at every push, so that a new one takes effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How an `https` receiver is recognised, and how it recognises the node. Files are read at every push."""

    ca_file: Text | None = None
    """Certificates that may have signed the receiver's, PEM; the system's unless said."""
    cert_file: Text | None = None
    """The node's certificate, PEM."""
    key_file: Text | None = None
    """Its private key, PEM, without a passphrase."""
    server_name: Host | None = None
    """What the receiver's certificate must be for; the URL's host unless said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """What is kept of the samples that the receiver has not taken yet."""

    max_bytes: SpoolOctets = 16_777_216
    """On disk; beyond it the oldest are dropped."""
    max_age: AgeSeconds = 3300.0
    """Seconds; older ones are dropped. A Prometheus takes none older than an hour unless its `out_of_order_time_window` is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Where metrics are sent: a receiver of Prometheus remote write 1.0."""

    url: PushUrl
    """Takes POST; a Prometheus with `--web.enable-remote-write-receiver` has it at /api/v1/write."""
    interval: PushSeconds = 30.0
    """Seconds between samples."""
    remote_timeout: PushSeconds = 30.0
    """Seconds for one request, from connecting to the answer's end."""
    labels: Mapping[LabelName, Text] = field(default_factory=dict)
    """Added to every series, besides `job`, `instance`, `mesh` and `node`, which it may replace; a metric's own label stays."""
    headers: Mapping[HeaderName, HeaderValue] = field(default_factory=dict)
    """Sent with each request, such as a tenant's `X-Scope-OrgID`. No secret belongs here."""
    basic_auth: BasicAuth | None = None
    """Name and password."""
    bearer_token_file: Text | None = None
    """Instead of them: holds a token; read at every push."""
    tls_config: TlsConfig | None = None
    """For an `https` receiver that the system's certificates do not know, or that asks for one."""
    spool: Spool = field(default_factory=Spool)
    """What is kept while the receiver cannot be reached."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSink:
    """Metrics, as Prometheus takes them. They can be scraped on 127.0.0.1:15020 whatever is said here."""

    push: Push | PushUrl | None = None
    """Where they are sent; a URL alone is short for `{url: …}`."""
    push_place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def target(self) -> Push | None:
        """Where metrics are sent, the long way."""
        if isinstance(self.push, str):
            return Push(url=self.push, place=self.push_place)
        return self.push


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """Requests and connections as they end, one JSON object a line: all refusals and errors, and some of what was allowed. Stays on the box."""

    sample: Share = 0.01
    """Share of what was allowed and went well that is logged too; 0: none. Below 1 at most 50 lines a second."""
    query: bool = False
    """Log the query of a request's target too; it often holds what nobody should read later."""
    max_bytes: LogOctets = 4_194_304
    """Of one file."""
    files: LogFiles = 3
    """How many are kept, the one being written included; 0: nothing is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What happens to requests without a valid W3C traceparent. Valid ones go on as they came."""

    create: bool = True
    """Begin a trace, so that services and the access log name the same one."""
    sample: Share = 0.0
    """Share of the traces begun here that services are asked to record (the flag `sampled`). Tulle records no spans itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySpec:
    """What is told of the traffic, and what leaves the node."""

    prometheus: PrometheusSink | None = None
    """Metrics."""
    access_log: AccessLog = field(default_factory=AccessLog)
    """What is kept of single requests."""
    tracing: Tracing = field(default_factory=Tracing)
    """W3C trace context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry(Resource):
    """What leaves the node; at most one."""

    versions: ClassVar[tuple[str, ...]] = ("tulle.dev/v1",)
    spec: TelemetrySpec = field(default_factory=TelemetrySpec)
    """See TelemetrySpec."""
