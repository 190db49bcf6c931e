"""Who speaks on a wire: what it is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from tulle.proxy.wheel import Timed

if TYPE_CHECKING:
    from tulle.proxy.wire import Wire


class Party(Timed):
    """Who speaks on a wire."""

    def __init__(self) -> None:
        super().__init__()
        self.line: Wire | None = None
        """What it speaks on, or spoke on last."""

    def on_octets(self, octets: bytes) -> None:
        """Something was read; never empty."""
        raise NotImplementedError

    def on_moved(self, octets: int) -> None:
        """So many came and went on to the sink unread, or wait there, which then is clogged; never 0. Asked for by `move_to`."""
        raise NotImplementedError

    def on_end(self) -> None:
        """The peer shut its half; nothing more comes."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """The connection is broken; the wire is still open and must be closed."""
        raise NotImplementedError

    def on_defect(self) -> None:
        """A defect of ours hit what it serves, which must end; the wire is sound and must be closed."""
        raise NotImplementedError

    def on_drained(self) -> None:
        """All that was kept has been sent."""
        raise NotImplementedError

    def on_finished(self) -> None:
        """What `finish` left to send has gone, and the wire has closed."""

    def give_up(self) -> None:
        if self.line is not None:
            self.line.give_up()


@final
class Nobody(Party):
    """Speaks on wires that are closed: they keep nobody alive, so that nothing needs the cyclic collector."""

    def on_octets(self, octets: bytes) -> None:
        """Is not told."""

    def on_moved(self, octets: int) -> None:
        """Is not told."""

    def on_end(self) -> None:
        """Is not told."""

    def on_lost(self) -> None:
        """Is not told."""

    def on_defect(self) -> None:
        """Is not told."""

    def on_drained(self) -> None:
        """Is not told."""


NOBODY: Final = Nobody()
