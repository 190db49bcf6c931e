"""Tells any number of tasks that something changed."""

import asyncio


class Signal:
    """Counts changes; whoever waits wakes once and looks for itself. No change is missed between look and wait."""

    def __init__(self) -> None:
        self.count = 0
        """Changes so far: take it before looking, and wait to be past it."""
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """One more change."""
        self.count += 1
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def past(self, count: int) -> None:
        """Returns once there were more changes than `count`."""
        while self.count <= count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
