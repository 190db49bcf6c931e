"""A request as decisions see it: method, two readings of its path, host, headers."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_ESCAPE_LAYERS: Final = 4
"""Escapes within escapes (`%25252e`) beyond this are refused: no honest path has them."""

MAX_HOST: Final = 255
"""Octets of a host name, as in DNS."""

_UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_OF_PLAIN_PATH: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$&'()*+,=:@-./"

_FORBIDDEN: Final = re.compile(rb"[\x00-\x20\x7f?#]")
_MALFORMED_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE_OR_HIGH: Final = re.compile(rb"%[0-9A-Fa-f]{2}|[\x80-\xff]")
_HOST: Final = re.compile(rb"(?:([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|(\[[0-9A-Fa-f:.]+\]))(?::[0-9]*)?")
_SLASHES: Final = re.compile(rb"/{2,}")
_PARAMETERS: Final = re.compile(rb";[^/]*")
_PARAMETERS_BEGIN: Final = re.compile(rb";|%(?:25)*3[Bb]")
_SLASH_ESCAPED: Final = re.compile(rb"\\|%(?:25)*(?:2[Ff]|5[Cc])")


class RequestView:
    """What routing and authorization may look at. Made once per request, from a head that was judged valid."""

    __slots__ = ("folded", "headers", "host", "method", "path")

    def __init__(self, method: str, path: str, folded: str, host: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.method: str = method
        self.path: str = path
        """Canonical, without query: what is forwarded."""
        self.folded: str = folded
        """The path as the most lenient server reads it; the same object as `path` for nearly all requests."""
        self.host: str = host
        """Lower-case, without port: see `canonical_host`."""
        self.headers: list[tuple[bytes, bytes]] = headers
        """Names in lower case."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header; repeated ones joined by a comma, as RFC 9110 §5.3 reads them."""
        found: bytes | None = None
        for key, value in self.headers:
            if key == name:
                found = value if found is None else found + b"," + value
        return found


def canonical_path(raw: bytes | str) -> tuple[str, str] | None:
    """Both readings of a path (without query): the canonical one to forward and the folded one.

    None: refuse the request (malformed escape, control byte, escaped NUL, `?`, `#`, no leading slash, an escaped slash
    within parameters).
    A plain path answers with the same string twice, so `path is folded` says that one judgement is enough.
    Text is taken as UTF-8. An empty path is `/`, and `*` (of OPTIONS) stays as it is.
    """
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "surrogateescape")
    if _is_plain(text):
        return text, text
    return _readings(text.encode("utf-8", "surrogateescape"))


def _is_plain(path: str) -> bool:
    """Whether it reads the same everywhere: no escape, no `;`, no empty element, none that begins with a dot."""
    return (
        path.startswith("/")
        and path.isascii()
        and "//" not in path
        and "/." not in path
        and not path.encode("ascii").translate(None, _OF_PLAIN_PATH)
    )


def canonical_host(raw: bytes | str) -> str | None:
    """A host as routes and policies name it: lower-case, without port and final dot. None: not a host."""
    octets = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    found = _HOST.fullmatch(octets)
    if found is None:
        return None
    host = found.group(found.lastindex or 1)
    return host.decode("ascii").lower() if len(host) <= MAX_HOST else None


def canonical_pattern(pattern: str) -> str:
    """A policy's or route's path as it compares with canonical paths; dot segments stay as written."""
    return _normal_escapes(pattern.encode("utf-8", "surrogateescape").replace(b" ", b"%20")).decode("ascii")


def folded_pattern(pattern: str) -> str:
    """A policy's path as it compares with folded paths; dot segments stay as written."""
    return _fold(unquote_to_bytes(pattern)).decode("utf-8", "surrogateescape")


def _readings(octets: bytes) -> tuple[str, str] | None:
    if octets == b"":
        return "/", "/"
    if octets == b"*":
        return "*", "*"
    if octets[:1] != b"/" or _FORBIDDEN.search(octets) or _MALFORMED_ESCAPE.search(octets):
        return None
    path = _normal_escapes(octets)
    if _is_torn(path):
        return None
    path = _without_dots(path)
    folded = path
    layers = 0
    while b"%" in folded:
        decoded = unquote_to_bytes(folded)
        if decoded == folded:
            break
        layers += 1
        if layers > MAX_ESCAPE_LAYERS:
            return None
        folded = decoded
    if b"\0" in folded:
        return None
    folded = _without_dots(_fold(folded))
    canonical = path.decode("ascii")
    lenient = folded.decode("utf-8", "surrogateescape")
    return (canonical, canonical) if canonical == lenient else (canonical, lenient)


def _normal_escapes(octets: bytes) -> bytes:
    """Escapes of unreserved octets decoded, the others in upper case; octets beyond ASCII escaped."""
    return _ESCAPE_OR_HIGH.sub(_normal_escape, octets)


def _normal_escape(match: re.Match[bytes]) -> bytes:
    found = match.group()
    if len(found) == 1:
        return b"%%%02X" % found[0]
    octet = bytes((int(found[1:], 16),))
    return octet if octet in _UNRESERVED else found.upper()


def _is_torn(path: bytes) -> bool:
    """Whether parameters hold an escaped slash: cut off before or after decoding, they end in different places."""
    for segment in path.split(b"/"):
        begin = _PARAMETERS_BEGIN.search(segment)
        if begin is not None and _SLASH_ESCAPED.search(segment, begin.end()):
            return True
    return False


def _fold(decoded: bytes) -> bytes:
    """Backslashes are slashes, parameters (`;x`) are cut off as servlets do, repeated slashes are one."""
    return _SLASHES.sub(b"/", _PARAMETERS.sub(b"", decoded.replace(b"\\", b"/")))


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 §5.2.4 for a path that begins with a slash."""
    kept: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
