"""A field of a head, made once: fields that come again are the same object, checked and serialised already."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import CRLF, TOKEN
from tulle.http.names import FORBIDDEN_IN_TRAILERS

# What a field means; PLAIN ones go on as they came.
PLAIN: Final = 0
BAD: Final = 1
"""Malformed: its message is reset, but the table keeps it."""
METHOD: Final = 2
SCHEME: Final = 3
AUTHORITY: Final = 4
PATH: Final = 5
STATUS: Final = 6
PROTOCOL: Final = 7
LAST_PSEUDO: Final = PROTOCOL
HOST: Final = 8
LENGTH: Final = 9
TE: Final = 10
EXPECT: Final = 11
COOKIE: Final = 12
HOP: Final = 13
"""Between two neighbours only, and no fault: dropped."""
REQUEST_ID: Final = 14
LATE: Final = 15
"""Goes on in a head, is dropped from trailers."""

KINDS: Final[dict[bytes, int]] = {
    **dict.fromkeys(FORBIDDEN_IN_TRAILERS, LATE),
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":status": STATUS,
    b":protocol": PROTOCOL,
    b"host": HOST,
    b"content-length": LENGTH,
    b"te": TE,
    b"expect": EXPECT,
    b"cookie": COOKIE,
    b"x-request-id": REQUEST_ID,
    b"http2-settings": HOP,
    b"proxy-authenticate": HOP,
    b"proxy-authentication-info": HOP,
    b"proxy-authorization": HOP,
    **dict.fromkeys((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"), BAD),
}
"""What names mean. Connection-specific ones are malformed (RFC 9113, 8.2.2)."""

VARYING: Final = frozenset(
    b"traceparent tracestate grpc-timeout x-request-id x-correlation-id x-b3-traceid x-b3-spanid b3 content-length date age "
    b"etag last-modified if-modified-since if-none-match authorization proxy-authorization cookie set-cookie location "
    b"grpc-message range content-range".split()
)
"""Names whose values seldom come again, or are secrets: never remembered, never put into a table of ours."""

# What else a name is looked for by, without comparing octets.
NO_ROLE: Final = 0
CONTENT_TYPE: Final = 1
GRPC_TIMEOUT: Final = 2
TRACEPARENT: Final = 3
TRACESTATE: Final = 4
ROLES: Final[dict[bytes, int]] = {
    b"content-type": CONTENT_TYPE,
    b"grpc-timeout": GRPC_TIMEOUT,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
}

LOWER_TOKEN: Final = TOKEN.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
CONTROLS: Final = bytes(octet for octet in range(32) if octet != 9) + b"\x7f"


MAX_NAMES: Final = 512
"""Names remembered by the whole process; with the fields below, 3 MB at most."""
MAX_FIELDS: Final = 2_048
"""Fields remembered by the whole process; beyond, all are forgotten."""
MAX_VALUES: Final = 256
"""Values of one name that are remembered; beyond, those are forgotten, and other names keep theirs."""
MAX_REMEMBERED: Final = 256
"""Octets of a name or value that is remembered."""
OVERHEAD: Final = 32
"""What a field counts beyond its octets (RFC 7541, 4.1)."""

_STATIC: Final = (
    ":authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|"
    ":status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|accept-language|"
    "accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|"
    "content-encoding|content-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect|"
    "expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|"
    "max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
    "strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
STATIC_SIZE: Final = 61


@final
class Meaning:
    """What the value of a field says that routes: found once, since the field comes again."""

    __slots__ = ("fault", "first", "octets", "port", "second")

    def __init__(self, fault: str, octets: bytes, first: str, second: str, port: int) -> None:
        self.fault = fault
        """Why the value is not accepted; empty when it is."""
        self.octets = octets
        """A path as it came; an authority in lower case."""
        self.first = first
        """The path before its `?`, or the host."""
        self.second = second
        """The query."""
        self.port = port
        """-1: none is named."""


@final
class Name:
    """A field name in lower case, and the values of it that are remembered."""

    __slots__ = ("by_octets", "by_wire", "index", "is_varying", "kind", "octets", "prefix", "role")

    def __init__(self, octets: bytes, wire: bytes, kind: int, index: int) -> None:
        self.octets = octets
        self.kind = kind
        self.role = ROLES.get(octets, NO_ROLE)
        self.index = index
        """In the static table; 0: not there."""
        self.prefix = integer(0x00, 4, index) if index else b"\x00" + wire
        """How a literal without indexing begins."""
        self.is_varying = octets in VARYING
        self.by_wire: dict[bytes, Field] = {}
        """By the value's wire form, Huffman-coded or not."""
        self.by_octets: dict[bytes, Field] = {}


@final
class Field:
    """A name with a value. Compared by identity; `literal` is independent of any connection's table."""

    __slots__ = ("appeared", "index", "kind", "literal", "may_index", "meaning", "name", "size", "value")

    def __init__(self, name: Name, value: bytes, kind: int, literal: bytes, may_index: bool, index: int) -> None:
        self.name = name
        self.value = value
        self.kind = kind
        self.literal = literal
        """Its whole representation without indexing, as octets came."""
        self.may_index = may_index
        """A table of ours may take it, on its second appearance."""
        self.index = index
        """In the static table; 0: not there."""
        self.appeared = False
        """Some connection of ours has sent it."""
        self.meaning: Meaning | None = None
        """Of :path, :authority and Host, once it was asked for."""
        self.size = len(name.octets) + len(value) + OVERHEAD

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """Name and value."""
        return self.name.octets, self.value

    def __repr__(self) -> str:
        return f"Field({self.name.octets!r}, {self.value!r})"


NO_FIELDS: Final[list[Field]] = []


@final
class FieldStore:
    """The fields of a process. Bounded; to forget costs time only, what holds a field goes on holding it."""

    __slots__ = ("_by_octets", "_by_wire", "_remembered", "static")

    def __init__(self) -> None:
        self._by_octets: dict[bytes, Name] = {}
        self._by_wire: dict[bytes, Name] = {}
        self._remembered = 0
        self.static: list[Field] = []
        """The static table; index 0 is not used."""
        self._fill()

    def field(self, name: bytes, value: bytes) -> Field:
        """The field of a valid lower-case name and a value. For what we make ourselves, or HTTP/1.1 brought."""
        known = self.name(name)
        found = known.by_octets.get(value)
        if found is not None:
            return found
        return self._make(known, value, integer(0x00, 7, len(value)) + value)

    def name(self, octets: bytes) -> Name:
        """The name with these octets, valid or not."""
        found = self._by_octets.get(octets)
        if found is None:
            found = self._make_name(octets, integer(0x00, 7, len(octets)) + octets)
        return found

    def name_of_wire(self, wire: bytes) -> Name | None:
        """A name that came in this form before."""
        return self._by_wire.get(wire)

    def take_name(self, octets: bytes, wire: bytes) -> Name:
        """The name that came in this form, now decoded."""
        found = self._by_octets.get(octets)
        if found is None:
            return self._make_name(octets, wire)
        if len(self._by_wire) < 2 * MAX_NAMES and len(wire) <= MAX_REMEMBERED:
            self._by_wire[wire] = found
        return found

    def take(self, name: Name, value: bytes, wire: bytes) -> Field:
        """The field of a value that came in this form, now decoded."""
        if name.is_varying:
            return self._make(name, value, wire)
        found = name.by_octets.get(value)
        if found is None:
            return self._make(name, value, wire)
        if self._remembered < MAX_FIELDS:
            self._remembered += 1
            name.by_wire[wire] = found
        return found

    def secret(self, name: Name, value: bytes, wire: bytes) -> Field:
        """A field that came as never indexed, and goes on so (RFC 7541, 7.1.3)."""
        prefix = bytes((name.prefix[0] | 0x10,)) + name.prefix[1:]
        kind = name.kind if is_sound(value) else BAD
        return Field(name, value, kind, prefix + wire, False, 0)

    def _make(self, name: Name, value: bytes, wire: bytes) -> Field:
        kind = name.kind
        if kind != BAD and not is_sound(value):
            kind = BAD
        remembered = not name.is_varying and kind != BAD and len(value) <= MAX_REMEMBERED
        made = Field(name, value, kind, name.prefix + wire, remembered, 0)
        if remembered:
            if len(name.by_octets) >= MAX_VALUES:
                self._forget_values(name)
            elif self._remembered >= MAX_FIELDS:
                self._forget()
            self._remembered += 1
            name.by_octets[value] = made
            name.by_wire[wire] = made
        return made

    def _make_name(self, octets: bytes, wire: bytes) -> Name:
        kind = KINDS.get(octets, PLAIN)
        if kind == PLAIN and not is_lower_token(octets):
            kind = BAD
        made = Name(octets, wire, kind, 0)
        if kind != BAD and len(self._by_octets) < MAX_NAMES and len(octets) <= MAX_REMEMBERED:
            self._by_octets[octets] = made
            self._by_wire[wire] = made
        return made

    def _forget_values(self, name: Name) -> None:
        self._remembered -= len(name.by_wire)
        name.by_wire.clear()
        name.by_octets.clear()
        for known in self.static[1:]:
            if known.name is name:
                name.by_octets[known.value] = known

    def _forget(self) -> None:
        for name in self._by_octets.values():
            name.by_octets.clear()
            name.by_wire.clear()
        self._by_wire.clear()
        kept = {name.octets: name for name in self._by_octets.values() if name.index}
        self._by_octets.clear()
        self._by_octets.update(kept)
        for known in self.static[1:]:
            known.name.by_octets[known.value] = known
        self._remembered = 0

    def _fill(self) -> None:
        nothing = Name(b"", b"\x00", BAD, 0)
        self.static.append(Field(nothing, b"", BAD, b"", False, 0))
        for index, entry in enumerate(_STATIC.encode().split(b"|"), 1):
            octets, _, value = entry.partition(b" ")
            name = self._by_octets.get(octets)
            if name is None:
                name = Name(octets, b"", KINDS.get(octets, PLAIN), index)
                self._by_octets[octets] = name
            literal = name.prefix + integer(0x00, 7, len(value)) + value
            made = Field(name, value, name.kind, literal, False, index)
            name.by_octets[value] = made
            self.static.append(made)


def integer(pattern: int, bits: int, value: int) -> bytes:
    """An integer with a prefix of so many bits, below `pattern` (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    octets = [pattern | most]
    value -= most
    while value >= 128:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def is_sound(value: bytes) -> bool:
    """Whether a value may stand in a message: no control character but tab, no blank at either end."""
    if not value:
        return True
    if value.translate(None, CONTROLS) != value:
        return False
    first = value[0]
    last = value[len(value) - 1]
    return first != 32 and first != 9 and last != 32 and last != 9


def is_lower_token(name: bytes) -> bool:
    """Whether this is a token without upper-case letters."""
    return bool(name) and not name.translate(None, LOWER_TOKEN)


def value_of(fields: list[Field], role: int) -> bytes | None:
    """The value of the fields with this role, joined by commas when there are several."""
    found: bytes | None = None
    for field in fields:
        if field.name.role == role:
            found = field.value if found is None else found + b", " + field.value
    return found


def pairs_of(came: list[Field], authority: bytes) -> list[tuple[bytes, bytes]]:
    """The fields as HTTP/1.1 would have brought them: no pseudo-header fields, a Host if `authority` says one, one cookie."""
    pairs: list[tuple[bytes, bytes]] = []
    crumbs: list[bytes] = []
    has_host = not authority
    for field in came:
        kind = field.kind
        if kind == COOKIE:
            crumbs.append(field.value)
        elif kind == PLAIN or kind > LAST_PSEUDO:
            has_host = has_host or kind == HOST
            pairs.append(field.pair)
    if not has_host:
        pairs.insert(0, (b"host", authority))
    if crumbs:
        pairs.append((b"cookie", joined(crumbs)))
    return pairs


def lines_of(fields: list[Field]) -> bytes:
    """The fields as HTTP/1.1 writes them, each ended by CRLF; crumbs of a cookie in one line."""
    lines: list[bytes] = []
    crumbs: list[bytes] = []
    for field in fields:
        if field.kind == COOKIE:
            crumbs.append(field.value)
        else:
            lines.append(field.name.octets + b": " + field.value + CRLF)
    if crumbs:
        lines.append(b"cookie: " + joined(crumbs) + CRLF)
    return b"".join(lines)


def joined(crumbs: list[bytes]) -> bytes:
    """A cookie that came in several fields (RFC 9113, 8.2.3)."""
    return crumbs[0] if len(crumbs) == 1 else b"; ".join([crumb for crumb in crumbs if crumb])
