"""What one connection may cost. Each figure says what happens beyond it."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.frames import DEFAULT_WINDOW
from tulle.http.head import Limits

MAX_BLOCK_FRAMES: Final = 8
"""CONTINUATION frames of one header block; beyond: ENHANCE_YOUR_CALM."""
MAX_BLOCK_BYTES: Final = 32_768
"""Octets of one header block as it is on the wire; beyond: ENHANCE_YOUR_CALM."""
MAX_DECODED_BYTES: Final = 65_536
"""Octets of a header block once decoded, 32 more for each field; beyond: ENHANCE_YOUR_CALM."""
MAX_SETTINGS: Final = 32
"""Entries of one SETTINGS frame; beyond: ENHANCE_YOUR_CALM."""
MAX_REPLIES_HELD: Final = 65_536
"""Octets of our replies that a peer may leave unread before it is not read either."""

FLOOD_WINDOW: Final = 10.0
"""Seconds over which useless frames and resets are counted."""
MAX_USELESS: Final = 1_000
"""Frames in a row and window that move nothing: PING, SETTINGS, PRIORITY, empty DATA, frames of closed streams."""
MAX_RESETS: Final = 200
"""Streams reset in a window, if that is more than half of those opened: a client with deadlines cancels, but not most."""
SHORT_LIFE: Final = 0.1
"""Seconds: streams that a client resets later than that are not held against it. When an endpoint hangs, all deadlines pass;
and so few streams fit into a connection at once that these cost little."""
MAX_EARLY_REFUSALS: Final = 1_000
"""Streams refused before the peer has acknowledged our SETTINGS that are not held against it."""
MAX_RESETS_REMEMBERED: Final = 512
"""Streams that we reset, whose late frames are expected."""


@final
class Http2Limits:
    """The figures an operator may choose for a connection."""

    __slots__ = ("connect", "connection_window", "extended_connect", "head", "stream_window", "streams")

    def __init__(
        self,
        head: Limits,
        streams: int = 128,
        stream_window: int = DEFAULT_WINDOW,
        connection_window: int = 262_144,
        extended_connect: bool = False,
        connect: bool = False,
    ) -> None:
        self.head = head
        """Limits of a head, as for HTTP/1.1; the size of a field counts 32 octets more (RFC 9113, 6.5.2)."""
        self.streams = streams
        """Streams that may be open at once: a client's, beyond which REFUSED_STREAM; or ours to a server."""
        self.stream_window = stream_window
        """Octets of a stream that may wait to be consumed."""
        self.connection_window = connection_window
        """Octets of all streams together, at least 65 535."""
        self.extended_connect = extended_connect
        """Serve RFC 8441: announced in SETTINGS."""
        self.connect = connect
        """Serve CONNECT to a host (RFC 9113, 8.5)."""
