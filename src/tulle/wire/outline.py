"""A snapshot taken apart without decoding it: its long lists as raw parts, each to be decoded in its own time.

What is refused, and with which words, is what `decode_snapshot` refuses: see `PartDecoder` and `fault_of`.
"""

from array import array
from collections.abc import Generator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

import msgspec

from tulle.wire.snapshot import (
    SCHEMA_VERSION,
    USUAL_LOG,
    USUAL_TRACING,
    AccessLog,
    Backend,
    Caller,
    Document,
    Door,
    Limits,
    Mode,
    Policy,
    Service,
    Tracing,
    decode_snapshot,
)

AT_ONCE = 500
"""Parts taken over in one step, of a fifth of a millisecond."""

Part = TypeVar("Part", bound=Document)


class Outline(Document, frozen=True, kw_only=True):
    """A Snapshot whose parts are raw: well-formed, and nothing else is known of them."""

    schema_version: int = SCHEMA_VERSION
    generation: int
    mesh: str
    trust_domain: str
    mode: Mode = Mode.ENFORCE
    callers: tuple[msgspec.Raw, ...] = ()
    services: tuple[msgspec.Raw, ...] = ()
    backends: tuple[msgspec.Raw, ...] = ()
    policies: tuple[msgspec.Raw, ...] = ()
    doors: tuple[Door, ...] = ()
    limits: Limits = Limits()
    access_log: AccessLog = USUAL_LOG
    tracing: Tracing = USUAL_TRACING


class PartDecoder(Generic[Part]):
    """Decodes the parts of one list."""

    def __init__(self, section: str, kind: type[Part]) -> None:
        self._section = section
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, octets: bytes, index: int) -> Part:
        """The part at `index`. Raises msgspec.ValidationError with its place in the whole, msgspec.DecodeError, UnicodeDecodeError."""
        try:
            return self._decoder.decode(octets)
        except msgspec.ValidationError as fault:
            what, at, place = str(fault).rpartition(" - at `$")
            if not at:
                what, place = place, "`"
            raise msgspec.ValidationError(f"{what} - at `$.{self._section}[{index}]{place}") from fault


CALLERS = PartDecoder("callers", Caller)
SERVICES = PartDecoder("services", Service)
BACKENDS = PartDecoder("backends", Backend)
POLICIES = PartDecoder("policies", Policy)

_OUTLINE = msgspec.json.Decoder(Outline)


def outline(text: bytes) -> Outline:
    """Raises msgspec.ValidationError or msgspec.DecodeError. The parts are views of `text`."""
    return _OUTLINE.decode(text)


class Section:
    """One of the lists as octets, part by part in the order of the document. Takes hardly more memory than its text."""

    __slots__ = ("_ends", "_text")

    def __init__(self) -> None:
        self._text = b""
        self._ends = array("Q")

    def fill(self, parts: Sequence[msgspec.Raw]) -> Generator[None, None, None]:
        """Takes the octets of a list, some parts at a time; until its end the section is as it was."""
        texts = []
        sizes = array("Q")
        for first in range(0, len(parts), AT_ONCE):
            some = parts[first : first + AT_ONCE]
            texts.append(b"".join(some))
            sizes.extend(memoryview(part).nbytes for part in some)
            yield
        self._text = b"".join(texts)
        self._ends = array("Q", accumulate(sizes))

    def __len__(self) -> int:
        return len(self._ends)

    def octets(self, index: int) -> bytes:
        """Those of one part."""
        return self._text[self._ends[index - 1] if index else 0 : self._ends[index]]

    def raws(self) -> tuple[msgspec.Raw, ...]:
        """All parts, to be encoded again."""
        return tuple(msgspec.Raw(self.octets(index)) for index in range(len(self)))


def without_parts(whole: Outline) -> Outline:
    """What else it says; the text is no longer needed for it."""
    return msgspec.structs.replace(whole, callers=(), services=(), backends=(), policies=())


def encode_whole(rest: Outline, callers: Section, services: Section, backends: Section, policies: Section) -> bytes:
    """The document of these parts, as `encode_snapshot` would write it."""
    return msgspec.json.encode(
        msgspec.structs.replace(
            rest,
            callers=callers.raws(),
            services=services.raws(),
            backends=backends.raws(),
            policies=policies.raws(),
        )
    )


def fault_of(text: bytes, fault: Exception) -> Exception:
    """What `decode_snapshot` says to a text that is malformed; `fault` counts octets from wherever it was found."""
    try:
        decode_snapshot(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as whole:
        return whole
    return fault
