"""One log, however many files it lies in: lines as they are stored, read on across rotations."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ACCESS = '{"time":"'
"""How each line of the access log begins. Its moment has microseconds, those of others have nanoseconds."""
OLDER = 9
"""Rotated parts that are looked for: more than are ever kept."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line of one log."""

    stamp: str
    """RFC 3339 with nanoseconds, UTC: sorts as text."""
    source: str
    """`namespace/workload`, or one of Tulle's own processes."""
    stream: str
    text: str


class LogReader:
    """Reads a log from its oldest part; goes on where it stopped, whatever was renamed meanwhile."""

    def __init__(self, path: Path, source: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._tail = Tail(source)

    def read(self) -> list[Line]:
        """What was written since the last call; at first all that is kept."""
        return [line for part in self._parts() for line in self._tail.feed(part.read())]

    def close(self) -> None:
        """Reads no more."""
        if self._file:
            self._file.close()
            self._file = None

    def _parts(self) -> Iterator[BinaryIO]:
        """The file that was being read, then those begun after it; the newest stays open."""
        newer = self._newer()  # looked for first: the older file then has all that it will ever have
        if self._file:
            yield self._file
        for part in reversed(newer):
            if self._file:
                self._file.close()
            self._file = part
            yield part

    def _newer(self) -> list[BinaryIO]:
        """Files begun after the one that was being read, newest first."""
        found: list[BinaryIO] = []
        for number in range(OLDER):
            path = self._path.with_name(f"{self._path.name}.{number}") if number else self._path
            part = _opened(path)
            if part is None:
                if number:
                    break
                continue
            if self._file and _is_same(part, self._file):
                part.close()
                break
            if found and _is_same(part, found[-1]):  # renamed between two looks
                part.close()
            else:
                found.append(part)
        return found


class Tail:
    """Makes lines of a log's octets, wherever they were cut; parts of a long line are joined."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rest = b""
        self._parts: list[str] = []

    def feed(self, octets: bytes) -> list[Line]:
        """The lines that are complete now."""
        *records, self._rest = (self._rest + octets).split(b"\n")
        found = []
        for record in records:
            stamp, stream, flag, text = _columns(record.decode(errors="replace"))
            self._parts.append(text)
            if flag != "P":
                found.append(Line(stamp, self._source, stream, "".join(self._parts)))
                self._parts = []
        return found


def _columns(record: str) -> tuple[str, str, str, str]:
    """Stamp, stream, flag and text; a record of another form is all text, also one of the access log."""
    if record.startswith(ACCESS):
        stamp = record[len(ACCESS) :].partition('"')[0]
        return f"{stamp[:-1]}000Z", "", "F", record
    match record.split(" ", 3):
        case [stamp, stream, "F" | "P" as flag, text]:
            return stamp, stream, flag, text
        case _:
            return "", "", "F", record


def _opened(path: Path) -> BinaryIO | None:
    with suppress(FileNotFoundError):
        return path.open("rb")
    return None


def _is_same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
