"""The way to a receiver of remote write: one connection, kept between requests, since a handshake costs more than what it carries."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tulle.http.exchange import Exchange, ResponseError
from tulle.telemetry.delivery import Later, Outcome, outcome
from tulle.telemetry.wires import READ_BYTES, PlainWire, TlsWire, Wire, client_context
from tulle.wire.sinks import PushSink, Tls

if TYPE_CHECKING:
    import ssl

ANSWER_BYTES = 65_536
"""More than that of an answer is not read."""
SAID_CHARACTERS = 200
"""So much of an answer is said."""
SECRET_BYTES = 16_384


class SecretError(Exception):
    """A file that the push needs cannot be read, or does not hold what it should."""


@dataclass(frozen=True, slots=True)
class _Way:
    wire: Wire
    files: tuple[tuple[int, int], ...]
    """What the TLS files were when it was opened."""


class Receiver:
    """One receiver."""

    def __init__(self, sink: PushSink, agent: str, now: Callable[[], float]) -> None:
        parts = urlsplit(sink.url)
        self._sink = sink
        self._now = now
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._authority = parts.netloc
        self._agent = agent
        self._way: _Way | None = None

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Posts one body. A file that cannot be read, a connection that cannot be made: later."""
        try:
            async with asyncio.timeout(self._sink.timeout):
                return await self._send(body, headers)
        except SecretError as fault:
            why = str(fault)
        except TimeoutError:
            why = f"no answer within {self._sink.timeout:g} s"
        except (OSError, ResponseError, UnicodeError) as fault:  # the last: a name that the resolver cannot spell
            why = _said(fault)
        self.close()
        return Later(why)

    def close(self) -> None:
        """Lets go of the connection."""
        if self._way is not None:
            self._way.wire.close()
            self._way = None

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        own = {"user-agent": self._agent, **headers, **self._sink.headers, **self._credentials()}
        content_type = own.pop("content-type")
        files = _stamps(self._sink.tls)
        while True:
            exchange = Exchange("POST", self._target, body, content_type, host=self._authority, headers=own, keep=True)
            way, is_kept = self._way, True
            if way is None or way.wire.is_closed or way.files != files:
                self.close()
                wire = await _wire(self._host, self._port, self._sink.tls if self._is_tls else None)
                way, is_kept = _Way(wire, files), False
                self._way = way
            try:
                return await self._exchange(way.wire, exchange)
            except (OSError, ResponseError):
                self.close()
                if not is_kept or exchange.head is not None:
                    raise

    async def _exchange(self, wire: Wire, exchange: Exchange) -> Outcome:
        """Leaves the connection for the next, when the answer lets it."""
        await wire.write(exchange.request)
        answer = b""
        while not exchange.is_done and len(answer) < ANSWER_BYTES:
            answer += exchange.feed(await wire.read())
        head = exchange.head
        if head is None:
            raise ResponseError("no answer")
        if not exchange.is_done or not head.keep_alive:
            self.close()
        text = " ".join(answer[: 4 * SAID_CHARACTERS].decode(errors="replace").split())
        said = "".join(one if one.isprintable() else "?" for one in text)
        return outcome(head.status, _text(head.value(b"retry-after")), said[:SAID_CHARACTERS], self._now())

    def _credentials(self) -> dict[str, str]:
        sink = self._sink
        if sink.bearer_token_file:
            return {"authorization": f"Bearer {_token(sink.bearer_token_file)}"}
        if sink.password_file:
            told = f"{sink.username}:{_secret(sink.password_file)}".encode()
            return {"authorization": f"Basic {base64.b64encode(told).decode()}"}
        return {}


def _secret(file: str) -> str:
    """The file's text without blanks around it."""
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(SECRET_BYTES).decode().strip()
    except OSError as fault:
        raise SecretError(f"cannot read {file}: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise SecretError(f"{file} is no text") from fault
    if not text:
        raise SecretError(f"{file} is empty")
    if not text.isprintable():
        raise SecretError(f"{file} holds more than one line")
    return text


def _token(file: str) -> str:
    text = _secret(file)
    if not text.isascii():
        raise SecretError(f"{file} holds what no token may")
    return text


def _stamps(tls: Tls) -> tuple[tuple[int, int], ...]:
    """What tells that a file was replaced."""
    found = []
    for file in filter(None, (tls.ca_file, tls.cert_file, tls.key_file)):
        try:
            stat = Path(file).stat()
        except OSError as fault:
            raise SecretError(f"cannot read {file}: {fault.strerror}") from fault
        found.append((stat.st_ino, stat.st_mtime_ns))
    return tuple(found)


async def _wire(host: str, port: int, tls: Tls | None) -> Wire:
    context = _context(tls) if tls else None
    wire = PlainWire(*await asyncio.open_connection(host, port, limit=READ_BYTES))
    if tls is None or context is None:
        return wire
    ciphered = TlsWire(wire, context, tls.server_name or host)
    try:
        await ciphered.handshake()
    except BaseException:
        wire.close()
        raise
    return ciphered


def _context(tls: Tls) -> "ssl.SSLContext":
    try:
        return client_context(tls.ca_file, tls.cert_file, tls.key_file)
    except OSError as fault:  # an SSLError is one
        files = ", ".join(filter(None, (tls.ca_file, tls.cert_file, tls.key_file))) or "the system's certificates"
        raise SecretError(f"cannot use {files}: {_said(fault)}") from fault


def _said(fault: Exception) -> str:
    return (getattr(fault, "strerror", None) or str(fault) or type(fault).__name__).strip()


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")
