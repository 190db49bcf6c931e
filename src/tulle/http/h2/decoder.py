"""Reads header blocks (RFC 7541, 6). Fields that came before are found by the octets they came in, neither decoded nor checked again."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.field import STATIC_SIZE, Field, FieldStore, Name
from tulle.http.h2.frames import DEFAULT_TABLE_SIZE
from tulle.http.h2.huffman import decode_huffman
from tulle.http.h2.table import DynamicTable

MAX_INTEGER: Final = 1 << 28
"""No integer of a block that fits our limits is larger."""
MAX_INTEGER_OCTETS: Final = 5


@final
class Decoder:
    """One direction of one connection. `fault` stays empty; once it does not, the connection is lost."""

    __slots__ = ("_at", "_static", "_store", "_table", "changes", "fault", "list_bytes")

    def __init__(self, store: FieldStore) -> None:
        self.fault = ""
        """What is wrong with the block: COMPRESSION_ERROR."""
        self.list_bytes = 0
        """Size of the last block's fields, 32 octets more for each."""
        self.changes = 0
        """How often the table changed: a block that is all indexed means the same until it does."""
        self._store = store
        self._static = store.static
        self._table = DynamicTable(DEFAULT_TABLE_SIZE)
        self._at = 0

    def decode(self, block: bytes, at: int, end: int, most: int) -> list[Field]:
        """The fields of `block[at:end]`, malformed ones included. Beyond `most` octets it goes on, but collects no more."""
        fields: list[Field] = []
        static = self._static
        table = self._table
        total = 0
        while at < end:
            first = block[at]
            if first >= 0x80:
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index = self._rest_of_integer(block, at, end, 0x7F)
                    at = self._at
                field = self._indexed(index) if index > STATIC_SIZE or index <= 0 else static[index]
                if field is None:
                    return self._fail("index beyond the tables")
            elif first >= 0x20 and first < 0x40:
                if total:
                    return self._fail("table size update within a block")
                size = self._integer(block, at, end, 0x1F)
                at = self._at
                if size < 0 or size > DEFAULT_TABLE_SIZE:
                    return self._fail("table size update beyond what was announced")
                self.changes += 1
                table.resize(size)
                continue
            else:
                mask = 0x3F if first >= 0x40 else 0x0F
                field = self._literal(block, at, end, mask, first)
                if field is None:
                    return self._fail("malformed literal")
                at = self._at
                if mask == 0x3F:
                    self.changes += 1
                    table.insert(field)
            total += field.size
            if total <= most:
                fields.append(field)
        self.list_bytes = total
        return fields

    def _indexed(self, index: int) -> Field | None:
        return self._table.at(index - STATIC_SIZE) if index > STATIC_SIZE else None

    def _literal(self, block: bytes, at: int, end: int, mask: int, first: int) -> Field | None:
        index = first & mask
        at += 1
        store = self._store
        name: Name
        if index:
            if index == mask:
                index = self._rest_of_integer(block, at, end, mask)
                at = self._at
            if index <= 0:
                return None
            if index <= STATIC_SIZE:
                name = self._static[index].name
            else:
                entry = self._table.at(index - STATIC_SIZE)
                if entry is None:
                    return None
                name = entry.name
        else:
            after = self._end_of_string(block, at, end)
            if after < 0:
                return None
            wire = block[at:after]
            known = store.name_of_wire(wire)
            if known is None:
                octets = _string(wire)
                if octets is None:
                    return None
                known = store.take_name(octets, wire)
            name = known
            at = after
        after = self._end_of_string(block, at, end)
        if after < 0:
            return None
        form = block[at:after]
        self._at = after
        secret = mask == 0x0F and first & 0x10 != 0
        if not secret:
            found = name.by_wire.get(form)
            if found is not None:
                return found
        value = _string(form)
        if value is None:
            return None
        return store.secret(name, value, form) if secret else store.take(name, value, form)

    def _end_of_string(self, block: bytes, at: int, end: int) -> int:
        """The index after the string literal at `at`; -1 when it is cut off."""
        if at >= end:
            return -1
        length = block[at] & 0x7F
        at += 1
        if length == 0x7F:
            length = self._rest_of_integer(block, at, end, 0x7F)
            if length < 0:
                return -1
            at = self._at
        at += length
        return at if at <= end else -1

    def _integer(self, block: bytes, at: int, end: int, mask: int) -> int:
        """The integer at `at`, or -1; `_at` is after it."""
        value = block[at] & mask
        if value < mask:
            self._at = at + 1
            return value
        return self._rest_of_integer(block, at + 1, end, mask)

    def _rest_of_integer(self, block: bytes, at: int, end: int, value: int) -> int:
        shift = 0
        while at < end and shift < 7 * MAX_INTEGER_OCTETS:
            octet = block[at]
            at += 1
            value += (octet & 0x7F) << shift
            if octet < 0x80:
                self._at = at
                return value if value <= MAX_INTEGER else -1
            shift += 7
        self._at = at
        return -1

    def _fail(self, fault: str) -> list[Field]:
        self.fault = fault
        return []


def _string(wire: bytes) -> bytes | None:
    """The string of a whole literal that is known to be complete."""
    at = 1
    if wire[0] & 0x7F == 0x7F:
        while wire[at] >= 0x80:
            at += 1
        at += 1
    if wire[0] >= 0x80:
        return decode_huffman(wire, at, len(wire))
    return wire[at:]
