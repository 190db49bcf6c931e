"""Octets to a receiver and back, in the clear or by TLS.

TLS is done here and not by asyncio, which was told to do without `ssl`: that costs megabytes, and only who pushes to `https` needs it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from tulle.kit.spare import after_all

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
READ_BYTES = 65_536


class Wire(Protocol):
    """One connection."""

    async def read(self) -> bytes:
        """Some octets; none when the other end has closed. Raises OSError."""

    async def write(self, octets: bytes) -> None:
        """All of them. Raises OSError."""

    def close(self) -> None:
        """Lets go of it."""

    @property
    def is_closed(self) -> bool:
        """The other end is known to have closed."""


class PlainWire:
    """In the clear."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """See Wire."""
        return await self._reader.read(READ_BYTES)

    async def write(self, octets: bytes) -> None:
        """See Wire."""
        self._writer.write(octets)
        await self._writer.drain()

    def close(self) -> None:
        """See Wire."""
        self._writer.close()

    @property
    def is_closed(self) -> bool:
        """See Wire."""
        return self._reader.at_eof() or self._writer.is_closing()


class TlsWire:
    """By TLS, over another."""

    def __init__(self, wire: Wire, context: "ssl.SSLContext", name: str) -> None:
        import ssl

        self._wire = wire
        self._wants_more = ssl.SSLWantReadError
        self._is_over = ssl.SSLZeroReturnError
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    async def handshake(self) -> None:
        """Before all else. Raises OSError when either end does not recognise the other."""
        await self._until_done(self._tls.do_handshake)

    async def read(self) -> bytes:
        """See Wire."""
        try:
            return await self._until_done(lambda: self._tls.read(READ_BYTES))
        except self._is_over:
            return b""

    async def write(self, octets: bytes) -> None:
        """See Wire."""
        await self._until_done(lambda: self._tls.write(octets))

    def close(self) -> None:
        """See Wire."""
        self._wire.close()

    @property
    def is_closed(self) -> bool:
        """See Wire."""
        return self._wire.is_closed

    async def _until_done(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except self._wants_more:
                await self._flush()
                if octets := await self._wire.read():
                    self._incoming.write(octets)
                else:
                    self._incoming.write_eof()
            except OSError:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if octets := self._outgoing.read():
            await self._wire.write(octets)


def client_context(ca_file: str, cert_file: str, key_file: str) -> "ssl.SSLContext":
    """Recognises who a certificate of `ca_file` (or of the system's) has signed. Raises OSError for a file that is no use."""
    after_all("ssl")
    import ssl

    context = ssl.create_default_context(cafile=ca_file or None)
    if cert_file:
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask for it at the terminal."""
    raise PermissionError("the key has a passphrase")
