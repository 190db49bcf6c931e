"""What texts must be to mean anything: claims about what a manifest holds, and what to write instead."""

import ipaddress
import re

from tulle.model.names import is_label

_ANYTHING = re.compile(r".+")
_HOST = re.compile(r"[A-Za-z0-9_.-]+")
_METHOD = re.compile(r"[A-Z0-9!#$%&'+.^_`|~-]+")
_PATH = re.compile(r"[^?#]+")


def is_pattern(text: str, fixed: re.Pattern[str] = _ANYTHING) -> bool:
    """Text with a star at most once, first or last; `fixed` is what stands beside it."""
    rest = _beside_star(text)
    return text == "*" or (text.isprintable() and "*" not in rest and fixed.fullmatch(rest) is not None)


def _beside_star(text: str) -> str:
    return text[:-1] if text.endswith("*") else text.removeprefix("*")


def is_service_pattern(text: str) -> bool:
    """`name`, `namespace/name`, `namespace/*` or `*`."""
    first, slash, second = text.partition("/")
    if not slash:
        return text == "*" or is_label(text)
    return is_label(first) and (second == "*" or is_label(second))


def is_host(text: str) -> bool:
    """Something to dial."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        is_name = len(text) < 254 and re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", text) is not None
        return is_name and all(0 < len(label) < 64 for label in text.split("."))
    return True


def is_host_pattern(text: str) -> bool:
    """Compared with hosts as `core.request.canonical_host` leaves them: without port and final dot."""
    if "*" in text:
        return is_pattern(text, _HOST) and not (text[0] == "*" and text[-1] == ".")
    return re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", text) is not None


def host_hint(text: str) -> str:
    """A host that could match, instead of one that never does."""
    name, colon, port = text.rpartition(":")
    if colon and name and (port.isdecimal() or port == "*"):
        return f"hosts are compared without their port: write `{name}`, and the port where `ports` are asked for"
    if text.endswith(".") and len(text) > 1:
        return f"hosts are compared without a final dot: write `{text[:-1]}`"
    return ""


def is_hostname(text: str) -> bool:
    """A host of a route, or `*.` and the end of one."""
    label = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
    return re.fullmatch(rf"(\*\.)?{label}(\.{label})*", text) is not None


def hostname_hint(text: str) -> str:
    """A host that a route could match."""
    if text != text.lower() and is_hostname(text.lower()):
        return f"write `{text.lower()}`"
    name, colon, port = text.rpartition(":")
    return f"hosts are compared without their port: write `{name}`" if colon and port.isdecimal() else host_hint(text)


def is_method_pattern(text: str) -> bool:
    """Methods are compared letter for letter, and are in capitals."""
    return is_pattern(text, _METHOD)


def method_hint(text: str) -> str:
    """The same in capitals."""
    return f"write `{text.upper()}`" if text != text.upper() and is_method_pattern(text.upper()) else ""


def is_clean(text: str) -> bool:
    """The kernel takes it as an argument."""
    return "\0" not in text


def is_http_path(text: str) -> bool:
    """A path that may be asked for."""
    return re.fullmatch(r"/[!-~]*", text) is not None and "?" not in text and "#" not in text


def is_route_path(text: str) -> bool:
    """A path that a route could match."""
    return is_http_path(text) and _is_reached(text)


def is_path_pattern(text: str) -> bool:
    """A path that a policy could match."""
    if not is_pattern(text, _PATH) or text[0] not in "/*":
        return False
    return _is_reached(text) if "*" not in text else _is_reached(text, whole=False)


def _is_reached(path: str, *, whole: bool = True) -> bool:
    """Some path is still like this when its dot segments are resolved and its escapes judged."""
    segments = (re.sub("%2e", ".", path, flags=re.IGNORECASE) if "%" in path else path).split("/")
    if path.startswith("*"):
        del segments[0]
    if path.endswith("*"):
        del segments[-1:]
    malformed = whole and "%" in path and re.search(r"%(?![0-9A-Fa-f]{2})", path)
    return not malformed and not {".", ".."}.intersection(segments)


def path_hint(text: str) -> str:
    """A path that could match, or why none does."""
    if "?" in text or "#" in text:
        return "the query is no part of the path"
    if text[:1] not in {"/", "*"} and is_path_pattern(f"/{text}"):
        return f"write `/{text}`"
    if _is_reached(text):
        return ""
    return "dot segments are resolved, and malformed escapes refused, before a path is compared"


def is_header_value(text: str) -> bool:
    """A value as the codec leaves it."""
    return text.isprintable() and text != "" and text == text.strip()
