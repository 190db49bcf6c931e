"""The names of fields: which mean something to whoever frames and forwards a message, which are usual, which come too late in trailers."""

from __future__ import annotations

from typing import Final

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
    "X-XSS-Protection baggage b3"
)

HOST: Final = 1
LENGTH: Final = 2
ENCODING: Final = 3
CONNECTION: Final = 4
TE: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
HOP: Final = 8
REQUEST_ID: Final = 9
TRACEPARENT: Final = 10
TRACESTATE: Final = 11

_NOTED: Final[dict[str, int]] = {
    "Host": HOST,
    "Content-Length": LENGTH,
    "Transfer-Encoding": ENCODING,
    "Connection": CONNECTION,
    "TE": TE,
    "Upgrade": UPGRADE,
    "Expect": EXPECT,
    "Keep-Alive": HOP,
    "HTTP2-Settings": HOP,
    "Proxy-Authenticate": HOP,
    "Proxy-Authentication-Info": HOP,
    "Proxy-Authorization": HOP,
    "Proxy-Connection": HOP,
    "X-Request-Id": REQUEST_ID,
    "Traceparent": TRACEPARENT,
    "Tracestate": TRACESTATE,
}
"""Names that are judged here or never forwarded as they came."""

SPECIAL: Final[dict[bytes, int]] = {name.lower().encode(): kind for name, kind in _NOTED.items()}
"""The same in lower case."""

NOTHING: Final = 0
"""The field means nothing here."""

USUAL: Final[dict[bytes, int]] = {
    spelling: SPECIAL.get(name.lower().encode(), NOTHING)
    for name in [*_NOTED, *_COMMON.split()]
    for spelling in (name.encode(), name.lower().encode(), name.title().encode())
}
"""Usual spellings of usual names: neither case nor syntax needs a look."""

FORBIDDEN_IN_TRAILERS: Final = frozenset(
    b"age authorization cache-control connection content-encoding content-length content-range content-type cookie date "
    b"expect expires host http2-settings if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive "
    b"location max-forwards pragma proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection range "
    b"retry-after set-cookie te trailer transfer-encoding upgrade vary warning www-authenticate".split()
)
"""Fields that frame, route, authorize or describe content: too late after it (RFC 9110, 6.5.1)."""
