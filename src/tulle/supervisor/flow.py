"""How much a process may have stored: who writes more waits, and the supervisor and the disk have peace."""

from typing import NamedTuple

_READ_COST_BYTES = 1 << 10
"""Charged for each read: a flood of single octets costs, too."""


class Flow(NamedTuple):
    """How much one process may have stored."""

    per_second: float
    burst: float
    """Bytes, with stamps."""


FLOW = Flow(1 << 20, 4 << 20)
OWN_FLOW = Flow(1 << 30, 1 << 30)
"""Of the proxy and the agent, which must never wait for their log."""


class Credit:
    """What one process may still have stored."""

    def __init__(self, flow: Flow, now: float) -> None:
        self._flow = flow
        self._left = flow.burst
        self._counted = now

    def charge(self, stored: int, now: float) -> None:
        """One read was made of it, and so many bytes stored."""
        earned = (now - self._counted) * self._flow.per_second
        self._left = min(self._left + earned, self._flow.burst) - stored - _READ_COST_BYTES
        self._counted = now

    def pause(self) -> float:
        """Seconds until it may go on; 0 while it may."""
        return max(-self._left / self._flow.per_second, 0.0)
