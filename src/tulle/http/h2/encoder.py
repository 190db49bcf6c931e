"""Writes header blocks. Literals go on in the form in which they came; a field enters the table on its second appearance."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.field import STATIC_SIZE, Field, integer
from tulle.http.h2.frames import DEFAULT_TABLE_SIZE
from tulle.http.h2.table import DynamicTable

INDEXED: Final[list[bytes]] = [integer(0x80, 7, index) for index in range(STATIC_SIZE + DEFAULT_TABLE_SIZE // 32 + 2)]
"""Every indexed representation there can be."""

MAX_SHARE: Final = 4
"""A field larger than this part of the table does not enter it."""

MAX_KEPT: Final = 4
"""Blocks that a connection keeps."""
MAX_KEPT_BLOCK: Final = 1_024


@final
class Known:
    """Fields that are sent again and again: each connection keeps their block for as long as it stays the same."""

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields


@final
class Encoder:
    """One direction of one connection. Blocks must be sent in the order in which they were encoded."""

    __slots__ = ("_announce", "_is_settled", "_kept", "_kept_at", "_lowest", "_table", "_where")

    def __init__(self) -> None:
        self._table = DynamicTable(DEFAULT_TABLE_SIZE)
        self._where: dict[Field, int] = {}
        """By identity: which insertion it was, counted from 1."""
        self._announce = False
        self._lowest = DEFAULT_TABLE_SIZE
        self._kept: dict[Known, bytes] = {}
        self._kept_at = 0
        """How many insertions there had been when these blocks were right."""
        self._is_settled = False
        """The last block changed nothing, and neither will it when it is sent again."""

    def limit(self, maximum: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; the next block says that we follow."""
        maximum = min(maximum, DEFAULT_TABLE_SIZE)
        if maximum == self._table.maximum:
            return
        if not self._announce:
            self._announce = True
            self._lowest = maximum
        self._lowest = min(self._lowest, maximum)
        self._kept.clear()
        while self._table.size > maximum:
            self._forget(self._table.evict())
        self._table.maximum = maximum

    def encode(self, fields: list[Field] | Known) -> bytes:
        """One header block, or a part of one."""
        if isinstance(fields, Known):
            return self._encode_known(fields)
        parts: list[bytes] = []
        self._is_settled = True
        if self._announce:
            self._announce = False
            self._is_settled = False
            if self._lowest < self._table.maximum:
                parts.append(integer(0x20, 5, self._lowest))
            parts.append(integer(0x20, 5, self._table.maximum))
        where = self._where
        newest = self._table.inserted + STATIC_SIZE + 1
        for field in fields:
            index = field.index
            if index:
                parts.append(INDEXED[index])
            elif field.may_index:
                number = where.get(field, 0)
                if number:
                    parts.append(INDEXED[newest - number])
                elif field.appeared and field.size * MAX_SHARE <= self._table.maximum:
                    parts.append(self._insert(field))
                    newest += 1
                else:
                    self._is_settled = self._is_settled and field.appeared
                    field.appeared = True
                    parts.append(field.literal)
            else:
                parts.append(field.literal)
        return b"".join(parts)

    def forget(self) -> None:
        """Keeps no blocks."""
        self._kept.clear()

    def _encode_known(self, known: Known) -> bytes:
        kept = self._kept
        if self._kept_at != self._table.inserted:
            self._kept_at = self._table.inserted
            kept.clear()
        if not self._announce:
            found = kept.get(known)
            if found is not None:
                return found
        block = self.encode(known.fields)
        if self._is_settled and len(block) <= MAX_KEPT_BLOCK:
            if len(kept) >= MAX_KEPT:
                kept.clear()
            kept[known] = block
        return block

    def _insert(self, field: Field) -> bytes:
        self._is_settled = False
        table = self._table
        while table.size + field.size > table.maximum:
            self._forget(table.evict())
        table.insert(field)
        self._where[field] = table.inserted
        literal = field.literal
        index = field.name.index
        if not index:
            return b"\x40" + literal[1:]
        skipped = len(integer(0x00, 4, index))
        return integer(0x40, 6, index) + literal[skipped:]

    def _forget(self, field: Field) -> None:
        del self._where[field]
