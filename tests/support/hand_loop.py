"""The supervisor's loop without a clock or events of its own."""

from collections.abc import Callable

from tulle.supervisor.loop import Timer


class HandLoop:
    """A loop whose clock and events the test moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.readers: dict[int, Callable[[], object]] = {}
        self.timers: list[Timer] = []

    def now(self) -> float:
        return self.time

    def read(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.readers[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(self.time + seconds, callback))
        return self.timers[-1]

    def events(self) -> None:
        """Calls back everybody once."""
        for callback in list(self.readers.values()):
            callback()

    def pass_to(self, timer: Timer) -> None:
        """Lets the time of a timer come."""
        self.time = timer.due
        assert timer.callback
        timer.callback()
