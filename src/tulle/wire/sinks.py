"""What the agent sends away, and where to: the third document of a revision, beside Snapshot and Plan."""

import msgspec


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the document. Readers ignore fields that they do not know."""


class Tls(Part, frozen=True, kw_only=True):
    """Files, absolute; empty: none."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


class PushSink(Part, frozen=True, kw_only=True):
    """A receiver of Prometheus remote write 1.0."""

    url: str
    interval: float
    """Seconds between samples."""
    timeout: float
    """Seconds for one request."""
    labels: dict[str, str] = {}
    headers: dict[str, str] = {}
    username: str = ""
    password_file: str = ""
    bearer_token_file: str = ""
    tls: Tls = Tls()
    spool_bytes: int
    spool_seconds: float


class Sinks(Part, frozen=True, kw_only=True):
    """All that leaves."""

    push: PushSink | None = None


def encode_sinks(sinks: Sinks) -> bytes:
    """JSON; empty where nothing leaves."""
    return b"" if sinks == Sinks() else msgspec.json.encode(sinks)


def decode_sinks(text: bytes) -> Sinks:
    """Raises ValueError for what is none."""
    return msgspec.json.decode(text, type=Sinks) if text else Sinks()
