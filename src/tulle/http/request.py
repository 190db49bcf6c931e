"""Judges request heads. Whatever two implementations might read in two ways is refused."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import BLANK, CRLF, NOTHING_KNOWN, TEXT, Fields, PlainLines, is_token, line_fault, without
from tulle.http.head import CHUNKED, NO_BODY, SIZED, Limits, Refusal, RequestHead
from tulle.http.trace_context import BOTH, TRACEPARENT, continued

END: Final = b"\r\n\r\n"

METHODS: Final[dict[bytes, str]] = {
    name.encode(): name for name in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE")
}
HTTP_1_1: Final = b"HTTP/1.1"
MAX_METHOD: Final = 32
"""Octets of a method; longer ones nobody has: 501."""

BESIDE_TARGET: Final = MAX_METHOD + len(b"  HTTP/1.1")
"""Octets of a request line that are not its target."""

NAME_OF_HOST: Final = b"abcdefghijklmnopqrstuvwxyz0123456789.-_~!$&'()*+;=%"
ADDRESS_OF_HOST: Final = b"0123456789abcdef:."


@final
class Authority:
    """What a Host field says."""

    __slots__ = ("host", "octets", "port")

    def __init__(self, octets: bytes, host: str, port: int) -> None:
        self.octets = octets
        """Lower case."""
        self.host = host
        """Without port; IPv6 keeps its brackets."""
        self.port = port
        """-1 when it names none."""


_NOWHERE: Final = Authority(b"", "", -1)


def find_head_end(buffer: bytes, start: int = 0) -> int:
    """The index after the empty line that ends the head beginning at `start`, or -1."""
    at = buffer.find(END, start)
    return at + 4 if at >= 0 else -1


def refuse_early(buffer: bytes, start: int, limits: Limits) -> Refusal | None:
    """What no further octet can mend in a request head that is not complete yet; None: read on."""
    held = len(buffer) - start
    if held > limits.header_bytes:
        return _oversized(buffer, start, limits)
    rest = buffer[start:] if buffer[-1:] != b"\r" else buffer[start:-1]
    breaks = rest.translate(None, TEXT)
    if breaks != CRLF * (len(breaks) >> 1) or rest.count(CRLF) != len(breaks) >> 1:
        return Refusal(400, line_fault(rest))
    if rest.startswith(CRLF):
        rest = rest[2:]
    line, ended, _ = rest.partition(CRLF)
    if not ended:
        if len(line) > limits.target_bytes + BESIDE_TARGET:
            return Refusal(414, "request line too long")
        return None
    parts = line.split(b" ")
    if len(parts) != 3:
        return Refusal(400, "request line is not `method target version`")
    return _version_refusal(parts[2])


def parse_request(head: bytes, limits: Limits, plain: PlainLines = NOTHING_KNOWN) -> RequestHead | Refusal:
    """Judges one whole head, its empty line included. One CRLF in front of it is tolerated."""
    if len(head) > limits.header_bytes:
        return _oversized(head, 0, limits)
    lines = head.splitlines()
    count = len(lines)
    if head.translate(None, TEXT) != CRLF * count:
        return Refusal(400, line_fault(head))
    first = 0
    if count and not lines[0]:
        first = 1
    if count < first + 2 or lines[count - 1]:
        return Refusal(400, "incomplete head")
    if count - first - 2 > limits.header_count:
        return Refusal(431, "too many fields")

    parts = lines[first].split(b" ")
    if len(parts) != 3:
        return Refusal(400, "request line is not `method target version`")
    target = parts[1]
    version_minor = 1
    if parts[2] != HTTP_1_1:
        if parts[2] != b"HTTP/1.0":
            refused = _version_refusal(parts[2])
            return refused if refused is not None else Refusal(505, "version")
        version_minor = 0
    method = METHODS.get(parts[0])
    if method is None:
        if not is_token(parts[0]):
            return Refusal(400, "method is no token")
        if len(parts[0]) > MAX_METHOD or parts[0] == b"CONNECT":
            return Refusal(501, "method is not served")
        method = parts[0].decode("ascii")
    if len(target) > limits.target_bytes:
        return Refusal(414, "target too long")
    if not target or not target.isascii() or target.find(b"#") >= 0 or target.find(b"\t") >= 0:
        return Refusal(400, "bad character in the target")  # `in` on bytes raises and clears an error inside: 200 ns

    fields = Fields()
    fields.read(lines[first + 1 : count - 1], plain)
    if fields.fault:
        return Refusal(400, fields.fault)
    begin = 2 * first + len(lines[first]) + 2
    return judge_request(method, target, version_minor, fields, None, fields.forwarded(), head[begin:-2], len(head))


def judge_request(
    method: str,
    target: bytes,
    version_minor: int,
    fields: Fields,
    authority: Authority | None,
    forward: bytes,
    lines: bytes,
    size: int,
) -> RequestHead | Refusal:
    """Judges a head whose first line and fields are sound by themselves. `authority`: of Host, where it is known already."""
    host_field = fields.host
    origin = target
    if target[0] != 47:
        if target == b"*":
            if method != "OPTIONS":
                return Refusal(400, "target `*` without OPTIONS")
        else:
            scheme, separator, rest = target.partition(b"://")
            if not separator or scheme.lower() != b"http":
                return Refusal(400, "target is neither a path nor an http URI")
            meant, origin = split_absolute(rest)
            if host_field is None:
                if version_minor == 1:
                    return Refusal(400, "no Host")
                host_field = meant
            elif without_default_port(meant) != without_default_port(host_field):
                return Refusal(400, "Host is not the target's")
            if not meant:
                return Refusal(400, "bad Host")
    if authority is None:
        if host_field is not None:
            authority = read_authority(host_field)
            if authority is None:
                return Refusal(400, "bad Host")
        elif version_minor == 1:
            return Refusal(400, "no Host")
        else:
            authority = _NOWHERE

    chunked = fields.encoding is not None
    if chunked:
        fault = fields.encoding_fault(version_minor)
        if fault:
            return Refusal(_encoding_status(fields, version_minor), fault)
    content_length = fields.content_length
    framing = NO_BODY
    if chunked:
        framing = CHUNKED
    elif content_length > 0:
        framing = SIZED

    expect_continue = False
    named = fields.named
    if fields.expect is not None:
        if fields.expect.lower() != b"100-continue":
            return Refusal(400, "Expect other than 100-continue")
        if version_minor == 1 and framing != NO_BODY:
            expect_continue = True
        else:
            named = [*named, b"expect"]
            forward = without(forward, named)

    traceparent = b""
    is_traced = False
    if fields.traceparent is not None or fields.tracestate:
        came = fields.own_traceparent()
        traceparent = continued(came) if came is not None else b""
        is_traced = bool(traceparent) and traceparent == came
        if not is_traced:
            forward = without(forward, (TRACEPARENT,) if traceparent else BOTH)

    path, _, query = origin.decode("ascii").partition("?")
    return RequestHead(
        method,
        target,
        origin,
        path,
        query,
        authority.host,
        authority.port,
        authority.octets,
        version_minor,
        lines,
        forward,
        framing,
        content_length,
        chunked,
        not fields.close and (version_minor == 1 or fields.keep),
        expect_continue,
        fields.upgrade and fields.upgrade_named,
        fields.te_trailers,
        named,
        fields.own_request_id(),
        size,
        None,
        None,
        b"",
        traceparent,
        is_traced,
    )


def read_authority(host: bytes) -> Authority | None:
    """Judges the value of a Host field; None: malformed."""
    octets = host.lower()
    split = port_index(octets)
    if split < 0:
        return None
    port = int(octets[split + 1 :]) if split < len(octets) else -1
    return Authority(octets, octets[:split].decode("ascii"), port)


def _oversized(buffer: bytes, start: int, limits: Limits) -> Refusal:
    """Blames the request line where that alone is too long."""
    end = buffer.find(b"\n", start + 2)
    if end < 0 or end - start > limits.target_bytes + BESIDE_TARGET + 3:
        return Refusal(414, "request line too long")
    return Refusal(431, "head too long")


def port_index(authority: bytes) -> int:
    """Where the `:` before the port is in `host:port` or `[v6]:port`; the length when there is no port; -1 if malformed."""
    size = len(authority)
    if authority[:1] == b"[":
        close = authority.find(b"]")
        if close < 3 or authority[1:close].translate(None, ADDRESS_OF_HOST) or b":" not in authority[1:close]:
            return -1
        if close + 1 == size:
            return size
        split = close + 1
        if authority[split] != 58:
            return -1
    else:
        split = authority.find(b":")
        if split < 0:
            split = size
        if not is_host_name(authority[:split]):
            return -1
        if split == size:
            return size
    digits = authority[split + 1 :]
    if len(digits) > 5 or not digits.isdigit() or int(digits) > 65_535:
        return -1
    return split


def is_host_name(name: bytes) -> bool:
    """Whether a lower-case name may stand in Host. Letters, digits and dots are recognised in half the time."""
    return name.replace(b".", b"").isalnum() or (bool(name) and not name.translate(None, NAME_OF_HOST))


def split_absolute(rest: bytes) -> tuple[bytes, bytes]:
    """Authority and origin form of what follows `http://`."""
    slash = rest.find(b"/")
    mark = rest.find(b"?")
    if mark >= 0 and (slash < 0 or mark < slash):
        return rest[:mark], b"/" + rest[mark:]
    if slash < 0:
        return rest, b"/"
    return rest[:slash], rest[slash:]


def without_default_port(authority: bytes) -> bytes:
    lowered = authority.lower()
    return lowered[:-3] if lowered.endswith(b":80") else lowered


def _version_refusal(version: bytes) -> Refusal | None:
    """Judges the third word of a request line; None for HTTP/1.0 and HTTP/1.1."""
    if version == b"HTTP/1.1" or version == b"HTTP/1.0":
        return None
    is_shaped = len(version) == 8 and version.startswith(b"HTTP/") and version[6] == 46
    if is_shaped and (version[5:6] + version[7:8]).isdigit():
        return Refusal(505, "version is not HTTP/1.0 or HTTP/1.1")
    return Refusal(400, "request line is not `method target version`")


def _encoding_status(fields: Fields, version_minor: int) -> int:
    """501 where `chunked` comes last and once, after a coding that is not known here; else 400."""
    encoding = fields.encoding
    if encoding is None or fields.content_length >= 0 or version_minor == 0:
        return 400
    codings = [coding.strip(BLANK) for coding in encoding.lower().split(b",")]
    if len(codings) > 1 and codings[-1] == b"chunked" and codings.count(b"chunked") == 1:
        return 501
    return 400
