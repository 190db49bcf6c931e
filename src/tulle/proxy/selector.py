"""The selector asyncio runs on: serves the relay's descriptors itself and hands over only what is asyncio's.

It returns to asyncio when a foreign descriptor is ready, a timer of asyncio is due, or a handler scheduled something.
"""

import contextlib
import select
import selectors
from collections.abc import Mapping
from typing import Any

from tulle.proxy.loop import Dispatcher


class RelaySelector(selectors.BaseSelector):
    """For `asyncio.SelectorEventLoop(selector)`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._epoll = dispatcher.epoll
        self._keys: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serves the relay until asyncio has something to do. `timeout` in seconds, None: no timer is set."""
        return self._translate(self._dispatcher.serve(timeout))

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the standard library's selectors."""
        fd = _number(fileobj)
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._epoll.register(fd, _to_epoll(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the standard library's selectors."""
        fd = _number(fileobj)
        key = self._keys.pop(fd)
        with contextlib.suppress(OSError):  # closed before: epoll forgot it by itself
            self._epoll.unregister(fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the standard library's selectors."""
        fd = _number(fileobj)
        key = selectors.SelectorKey(fileobj, fd, events, data)
        if self._keys[fd].events != events:
            self._epoll.modify(fd, _to_epoll(events))
        self._keys[fd] = key
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Raises KeyError for what is not registered."""
        return self._keys[_number(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """By descriptor."""
        return self._keys

    def close(self) -> None:
        """Closes epoll; the relay's descriptors are its own affair."""
        self._keys.clear()
        self._epoll.close()

    def _translate(self, foreign: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for fd, mask in foreign:
            key = self._keys.get(fd)
            if key is None:
                continue
            events = 0
            if mask & ~select.EPOLLIN:
                events |= selectors.EVENT_WRITE
            if mask & ~select.EPOLLOUT:
                events |= selectors.EVENT_READ
            ready.append((key, events & key.events))
        return ready


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


def _to_epoll(events: int) -> int:
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )
