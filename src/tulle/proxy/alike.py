"""Heads that differ only where no decision looks: in their query, and in fields that mean nothing here.

What was decided about one of them holds for all, and each goes on as what they have in common and its own octets, which were judged too.
"""

from __future__ import annotations

from typing import final

from tulle.http.fields import CRLF
from tulle.http.head import Limits, RequestHead
from tulle.http.opening import BEHIND_TARGET, Opening
from tulle.http.request import parse_request
from tulle.http.write import open_request
from tulle.proxy.judged import Judged
from tulle.wire.snapshot import Protocol


@final
class Alike:
    """The heads that ask for one path by one method and whose fields begin with one opening; plain fields follow, or none."""

    __slots__ = ("behind", "judged", "target_at")

    def __init__(self, judged: Judged, target_at: int, behind: bytes) -> None:
        self.judged = judged
        """Of the head that has no query and no other field."""
        self.target_at = target_at
        """Where the target begins."""
        self.behind = behind
        """That head as it is sent, from the end of its target to the end of its fields."""


def learn_alike(judged: Judged, opening: Opening, limits: Limits) -> Alike | None:
    """What this head, about which its path decided alone, has in common with others; None: each has to be read."""
    route = judged.route
    if route is not None and all(one.protocol is Protocol.HTTP2 for one in route.backends):
        return None  # each has to be read as a whole, since HTTP/2 sends field by field
    if judged.head.path[:1] != "/":
        return None  # `*` has no query
    start = asked(judged.head)
    line = start + BEHIND_TARGET
    head = parse_request(line + opening.octets + CRLF, limits)
    if not isinstance(head, RequestHead) or head.upgrade:
        return None  # to which protocol it may change, fields say that mean nothing else
    wire = open_request(head, b"")
    if wire[: len(line)] != line:
        return None
    common = Judged(head, None, judged.verdict, judged.route, b"", judged.pairs, judged.protocol)
    return Alike(common, len(head.method) + 1, wire[len(start) :])


def asked(head: RequestHead) -> bytes:
    """Method and path, as a request line begins."""
    return b"%b %b" % (head.method.encode(), head.path.encode())
