"""`${VAR}` in a value → what the environment says, as the Compose specification writes it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_TEXT = 1024 * 1024
"""Letters that one value may become."""
MAX_NESTED = 16
"""Defaults within defaults."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class BadText(Exception):
    """Interpolation is impossible; says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(slots=True)
class Interpolation:
    """Replaces variables, and remembers which."""

    variables: Mapping[str, str]
    used: set[str] = field(default_factory=set)
    """Were set, and their value was written."""
    defaulted: set[str] = field(default_factory=set)
    """Were not set, and a default was written."""
    unset: set[str] = field(default_factory=set)
    """Were not set, had no default, and became nothing."""

    def text(self, text: str) -> str:
        """`text` with every variable replaced. Raises BadText."""
        if "$" not in text:
            return text
        made, end = self._until(text, 0, "", 0)
        assert end == len(text)  # noqa: S101  (nothing ends the outermost text but its end)
        return made

    def _until(self, text: str, at: int, closing: str, depth: int) -> tuple[str, int]:
        """The text up to `closing`, replaced, and where that stands."""
        if depth > MAX_NESTED:
            raise BadText("defaults within defaults are nested too deep")
        parts: list[str] = []
        size = 0
        while at < len(text) and text[at] != closing:
            if text[at] == "$":
                part, at = self._dollar(text, at + 1, depth)
            else:
                stop = re.compile(r"[$}]" if closing else r"\$").search(text, at + 1)
                after = stop.start() if stop else len(text)
                part, at = text[at:after], after
            parts.append(part)
            size += len(part)
            if size > MAX_TEXT:
                raise BadText("its variables make it too long")
        return "".join(parts), at

    def _dollar(self, text: str, at: int, depth: int) -> tuple[str, int]:
        if text.startswith("$", at):
            return "$", at + 1
        if name := _NAME.match(text, at):
            return self._value(name[0], "", ""), name.end()
        name = _NAME.match(text, at + 1) if text.startswith("{", at) else None
        if name is None:
            raise BadText("`$` begins no variable", "write `$$` for a dollar sign")
        at = name.end()
        operator = _OPERATOR.match(text, at)
        word, sets = "", (set(self.used), set(self.defaulted), set(self.unset))
        if operator:
            word, at = self._until(text, operator.end(), "}", depth + 1)
        if not text.startswith("}", at):
            raise BadText(f"`${{{name[0]}` is never closed", "write `$$` for a dollar sign")
        how = operator[0] if operator else ""
        if not self._takes_word(name[0], how):  # what the word named was not needed
            self.used, self.defaulted, self.unset = sets
        return self._value(name[0], how, word), at + 1

    def _is_set(self, name: str, how: str) -> bool:
        value = self.variables.get(name)
        return value is not None and (value != "" or not how.startswith(":"))

    def _takes_word(self, name: str, how: str) -> bool:
        return bool(how) and self._is_set(name, how) == (how[-1] == "+")

    def _value(self, name: str, how: str, word: str) -> str:
        is_set = self._is_set(name, how)
        if how.endswith("?") and not is_set:
            raise BadText(f"`{name}` must be set: {word or 'the file asks for it'}", f"set `{name}`, here or in .env")
        if how.endswith("+"):
            (self.used if is_set else self.defaulted).add(name)
            return word if is_set else ""
        if is_set:
            self.used.add(name)
            return self.variables[name]
        (self.defaulted if how else self.unset).add(name)
        return word
