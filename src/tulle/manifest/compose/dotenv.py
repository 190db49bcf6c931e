"""The text of `.env` and of an `env_file` → its variables, as the Compose specification writes them."""

import re
from collections.abc import Iterator, Mapping

from tulle.manifest.compose.interpolate import BadText, Interpolation

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:([=:])[ \t]*|(?=\r?$))", re.MULTILINE)
_SKIPPED = re.compile(r"[ \t]*(?:#.*)?\r?(?:\n|\Z)")
_CLOSING = {
    '"': re.compile(r'((?:[^\\"]|\\.)*)"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)', re.DOTALL),
    "'": re.compile(r"([^']*)'[ \t]*(?:#.*)?\r?(?:\n|\Z)"),
}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def read_env(text: str, around: Mapping[str, str], *, raw: bool = False) -> dict[str, str | None]:
    """Name → value; None for a name alone, whose value is taken from around. Raises BadText with the line."""
    found: dict[str, str | None] = {}
    for line, name, value, quote in _assignments(text, raw):
        try:
            if value is None or quote == "'" or raw:
                found[name] = value
            else:
                known = {**{key: held for key, held in found.items() if held is not None}, **around}
                found[name] = Interpolation(known).text(value)
        except BadText as fault:
            raise BadText(f"line {line}: {fault}", fault.hint) from None
    return found


def _assignments(text: str, raw: bool) -> Iterator[tuple[int, str, str | None, str]]:
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            at = max(skipped.end(), at + 1)
            continue
        line = text.count("\n", 0, at) + 1
        head = _LINE.match(text, at)
        if head is None:
            raise BadText(f"line {line}: not `NAME=value`")
        end = text.find("\n", head.end())
        end = len(text) if end < 0 else end
        if head[2] is None:
            value, quote, at = None, "", end + 1
        elif raw:
            value, quote, at = text[head.end() : end].rstrip("\r"), "", end + 1
        elif text[head.end() : head.end() + 1] in {"'", '"'}:
            quote = text[head.end()]
            value, at = _quoted(text, head.end() + 1, quote, line)
        else:
            value, quote, at = re.sub(r"(^|\s)#.*", "", text[head.end() : end]).strip(), "", end + 1
        yield line, head[1], value, quote


def _quoted(text: str, start: int, quote: str, line: int) -> tuple[str, int]:
    closing = _CLOSING[quote]
    found = closing.match(text, start)
    if found is None:
        raise BadText(f"line {line}: a quote is never closed")
    value = found[1]
    if quote == '"':
        value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), value, flags=re.DOTALL)
    return value, found.end()
