"""Reads the field lines of a head: strict syntax, and the few fields that frame a message or belong to one hop."""

from __future__ import annotations

from typing import Final, final

CRLF: Final = b"\r\n"
BLANK: Final = b" \t"

TEXT: Final = bytes(octet for octet in range(256) if octet == 9 or (octet >= 32 and octet != 127))
"""What a line may hold. Deleting it from a sound head leaves one CRLF per line, and nothing else."""

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

MAX_LENGTH_DIGITS: Final = 18
"""A Content-Length of more digits does not fit 63 bits on the other side."""

_COMMON: Final = (
    "Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Credentials "
    "Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Expose-Headers "
    "Access-Control-Max-Age Access-Control-Request-Headers Access-Control-Request-Method Age Allow Alt-Svc Authorization "
    "Cache-Control Connection Content-Disposition Content-Encoding Content-Language Content-Length Content-Location "
    "Content-Range Content-Security-Policy Content-Type Cookie Date DNT ETag Expect Expires Forwarded From Host If-Match "
    "If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive Last-Modified Link Location Origin Pragma "
    "Priority Range Referer Referrer-Policy Retry-After Sec-Ch-Ua Sec-Ch-Ua-Mobile Sec-Ch-Ua-Platform Sec-Fetch-Dest "
    "Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Server Set-Cookie Strict-Transport-Security TE Trailer Transfer-Encoding "
    "Upgrade Upgrade-Insecure-Requests User-Agent Vary Via WWW-Authenticate X-Content-Type-Options X-Correlation-Id "
    "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options X-Powered-By X-Real-Ip X-Request-Id X-Requested-With "
    "X-XSS-Protection baggage b3 traceparent tracestate"
)

_HOST: Final = 1
_LENGTH: Final = 2
_ENCODING: Final = 3
_CONNECTION: Final = 4
_TE: Final = 5
_UPGRADE: Final = 6
_EXPECT: Final = 7
_HOP: Final = 8

SPECIAL: Final[dict[bytes, int]] = {
    b"host": _HOST,
    b"content-length": _LENGTH,
    b"transfer-encoding": _ENCODING,
    b"connection": _CONNECTION,
    b"te": _TE,
    b"upgrade": _UPGRADE,
    b"expect": _EXPECT,
    b"keep-alive": _HOP,
    b"http2-settings": _HOP,
    b"proxy-authenticate": _HOP,
    b"proxy-authentication-info": _HOP,
    b"proxy-authorization": _HOP,
    b"proxy-connection": _HOP,
}
"""Names that are judged here or never forwarded as they came."""

PLAIN: Final[dict[bytes, bytes]] = {
    spelling: name.lower().encode()
    for name in _COMMON.split()
    if name.lower().encode() not in SPECIAL
    for spelling in (name.encode(), name.lower().encode(), name.title().encode())
}
"""Usual spellings of usual names that mean nothing here: neither case nor syntax needs a look."""

FORBIDDEN_IN_TRAILERS: Final = frozenset(
    b"age authorization cache-control connection content-encoding content-length content-range content-type cookie date "
    b"expect expires host http2-settings if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive "
    b"location max-forwards pragma proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection range "
    b"retry-after set-cookie te trailer transfer-encoding upgrade vary warning www-authenticate".split()
)
"""Fields that frame, route, authorize or describe content: too late after it (RFC 9110, 6.5.1)."""


@final
class Fields:
    """The fields of one head while it is read. `fault` says what is wrong with them, empty when nothing is."""

    __slots__ = (
        "close",
        "content_length",
        "encoding",
        "expect",
        "fault",
        "host",
        "keep",
        "kept",
        "named",
        "parsed",
        "te_trailers",
        "upgrade",
        "upgrade_named",
    )

    def __init__(self) -> None:
        self.fault = ""
        self.parsed: list[tuple[bytes, bytes]] = []
        self.kept: list[bytes] = []
        """Lines that go on, in canonical form, without CRLF."""
        self.host: bytes | None = None
        self.content_length = -1
        self.encoding: bytes | None = None
        self.expect: bytes | None = None
        self.close = False
        """Connection names `close`."""
        self.keep = False
        """Connection names `keep-alive`."""
        self.upgrade_named = False
        self.upgrade = False
        self.te_trailers = False
        self.named: list[bytes] = []

    def read(self, lines: list[bytes], first: int, end: int) -> None:
        """Reads `lines[first:end]`, which hold no CR, LF or other control. Stops at the first fault."""
        parsed = self.parsed
        kept = self.kept
        for line in lines[first:end]:
            raw, separator, value = line.partition(b": ")
            plain = PLAIN.get(raw)
            stripped = value.strip(BLANK)
            if plain is not None and separator and stripped is value:
                parsed.append((plain, value))
                kept.append(line)
                continue
            name = raw.lower()
            special = SPECIAL.get(name)
            if not separator or (special is None and not is_token(raw)):
                raw, separator, value = line.partition(b":")
                if not separator or not is_token(raw):
                    self.fault = name_fault(line)
                    return
                stripped = value.strip(BLANK)
                name = raw.lower()
                special = SPECIAL.get(name)
            parsed.append((name, stripped))
            if special is not None:
                goes_on = self._note(special, stripped)
                if self.fault:
                    return
                if not goes_on:
                    continue
            kept.append(raw + b": " + stripped)
        if self.named:
            self._drop_named()

    def forwarded(self) -> bytes:
        """The lines that go on, each ended by CRLF."""
        if not self.kept:
            return b""
        return CRLF.join(self.kept) + CRLF

    def drop(self, name: bytes) -> None:
        """Keeps fields of this lower-case name from going on."""
        self.named.append(name)
        self._drop_named()

    def encoding_fault(self, version_minor: int) -> str:
        """Why Transfer-Encoding cannot frame the body; empty when it can, or is not there."""
        encoding = self.encoding
        if encoding is None:
            return ""
        if version_minor == 0:
            return "Transfer-Encoding on HTTP/1.0"
        if self.content_length >= 0:
            return "Content-Length with Transfer-Encoding"
        if encoding.lower() != b"chunked":
            return "Transfer-Encoding other than chunked"
        return ""

    def _note(self, special: int, value: bytes) -> bool:
        """Judges one field that means something here; False: it does not go on as it came."""
        if special == _HOST:
            if self.host is not None:
                self.fault = "more than one Host"
            self.host = value
        elif special == _LENGTH:
            if self.content_length >= 0:
                self.fault = "more than one Content-Length"
            elif len(value) > MAX_LENGTH_DIGITS or not value.isdigit():
                self.fault = "Content-Length is not a number"
            else:
                self.content_length = int(value)
        elif special == _ENCODING:
            if self.encoding is not None:
                self.fault = "more than one Transfer-Encoding"
            self.encoding = value
        elif special == _CONNECTION:
            self._note_connection(value)
        elif special == _TE:
            for coding in value.split(b","):
                if coding.strip(BLANK).lower() == b"trailers":
                    self.te_trailers = True
        elif special == _UPGRADE:
            self.upgrade = True
        elif special == _EXPECT:
            if self.expect is not None:
                self.fault = "more than one Expect"
            self.expect = value
            return True
        return False

    def _note_connection(self, value: bytes) -> None:
        if value == b"keep-alive":
            self.keep = True
            return
        for part in value.lower().split(b","):
            option = part.strip(BLANK)
            if not option:
                continue
            if option == b"close":
                self.close = True
            elif option == b"keep-alive":
                self.keep = True
            elif option == b"upgrade":
                self.upgrade_named = True
            elif not is_token(option):
                self.fault = "Connection names what is no field name"
                return
            elif option not in SPECIAL:
                self.named.append(option)

    def _drop_named(self) -> None:
        self.kept = [line for line in self.kept if line[: line.index(b":")].lower() not in self.named]


def is_token(name: bytes) -> bool:
    """Whether this is a token. Letters, digits and hyphens, nearly all names, are recognised in half the time."""
    return name.replace(b"-", b"").isalnum() or (bool(name) and not name.translate(None, TOKEN))


def name_fault(line: bytes) -> str:
    """What is wrong with a line that does not begin with `name:`."""
    if not line:
        return "empty line before the end of the head"
    if line[0] == 32 or line[0] == 9:
        return "folded field line"
    raw, separator, _ = line.partition(b":")
    if not separator:
        return "field line without colon"
    if not raw:
        return "empty field name"
    if raw[-1] == 32 or raw[-1] == 9:
        return "blank before the colon"
    return "bad character in a field name"


def line_fault(block: bytes) -> str:
    """Names the octet that is neither text nor part of a CRLF in a block that holds one."""
    rest = block.replace(CRLF, b"")
    if b"\r" in rest:
        return "bare CR"
    if b"\n" in rest:
        return "bare LF"
    return "control character"
