"""Reference pages, the editors' schema and the examples' snapshots, from the types that read manifests."""

import enum
import inspect
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin

import msgspec

from tools.pages import field_docstrings, page, table
from tulle.compiler import Facts, compile_mesh
from tulle.manifest import Loaded, parse
from tulle.manifest.decode import camel, snake
from tulle.manifest.forms import Way, expectation, field_types, form_of
from tulle.manifest.later import LATER, LATER_KINDS
from tulle.manifest.meshfile import MeshFile
from tulle.model.catalogue import CODES
from tulle.model.fields import Between, Check
from tulle.model.resource import Metadata
from tulle.model.resources import KINDS
from tulle.wire.snapshot import encode_snapshot

UNSAID = frozenset({"place", "expose_place", "telemetry_place", "push_place", "node_port_place", "versions"})


def mesh_file() -> str:
    """Every field of the mesh file."""
    return page(
        "The mesh file",
        "The short form, for one node. `tulle expand` prints the resources it means; `mesh.schema.json` beside this page "
        "teaches it to editors. Any other field is an error. Only plain digits are a number; no other word has a "
        "meaning of its own, so `no` and `on` are words.",
        *_sections(MeshFile, snake, set()),
    )


def resources() -> str:
    """Every field of every kind."""
    seen: set[type] = set()
    blocks = [*_sections(Metadata, camel, seen)]
    kinds: list[Any] = list(KINDS)
    for kind in kinds:
        blocks.append(f"## {kind.__name__}\n\n{_said(kind)}\n\n`apiVersion: {'` or `'.join(kind.versions)}`")
        spec = next(one for one in field_types(kind) if one.attribute == "spec")
        blocks.extend(_sections(spec.hint, camel, seen, level=3))
    later = [(f"`{kind}`", hint) for kind, hint in LATER_KINDS.items()]
    blocks.append("## Not supported yet\n\nRefused, never ignored.\n\n" + table(("kind", "until then"), later))
    return page(
        "Resources",
        "The full language: the ecosystem's own kinds, and two of `tulle.dev/v1`. Each has `apiVersion`, `kind`, "
        "`metadata` and `spec`. Any other field is an error. Without a Mesh, the trust domain is `cluster.local`.",
        *blocks,
    )


def problems() -> str:
    """Every code of a problem."""
    rows = [(f"`{code}`", meaning) for code, meaning in sorted(CODES.items())]
    introduction = "What `tulle validate` and `tulle apply` may find wrong with manifests, all of it at once."
    return page("Problems", introduction, table(("code", "meaning"), rows))


def mesh_schema() -> str:
    """JSON Schema of the mesh file, for editors."""
    definitions: dict[str, Any] = {}
    root = _record_schema(MeshFile, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tulle mesh file"}
    return json.dumps(head | root | {"$defs": dict(sorted(definitions.items()))}, indent=2, ensure_ascii=False) + "\n"


def example_snapshot(example: pathlib.Path) -> str:
    """What an example compiles to. Raises ValueError with its problems."""
    file = example / "mesh.yaml"
    read = parse({f"examples/{example.name}/{file.name}": file.read_text()})
    made = compile_mesh(read.resources, Facts(generation=1)) if isinstance(read, Loaded) else read
    if isinstance(made, list):
        raise ValueError("\n".join(map(str, made)))  # noqa: TRY004  (the example is at fault, not a type)
    return msgspec.json.format(encode_snapshot(made.snapshot), indent=2).decode() + "\n"


def _said(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").replace("\n", " ")


def _sections(kind: Any, naming: Callable[[str], str], seen: set[type], level: int = 2) -> Iterator[str]:
    """The kind, then every kind that its fields hold, each once."""
    if kind in seen:
        return
    seen.add(kind)
    meanings = field_docstrings(kind, UNSAID)
    rows = [
        (f"`{naming(one.attribute)}`", _type(one.hint), _default(kind, one.attribute), meanings[one.attribute])
        for one in field_types(kind)
    ]
    yield f"{'#' * level} {kind.__name__}\n\n{_said(kind)}\n\n" + table(("field", "type", "default", "meaning"), rows)
    for choice in (one for field in field_types(kind) for one in _inside(field.hint) if issubclass(one, enum.Enum)):
        if choice not in seen and len(choice) > 1:
            seen.add(choice)
            yield table((choice.__name__, "meaning"), [(f"`{one.value}`", _member(choice, one)) for one in choice])
    if later := LATER.get(kind.__name__):
        yield "Not supported yet: " + ", ".join(f"`{name}`" for name in sorted(later)) + "."
    for inner in (one for field in field_types(kind) for one in _inside(field.hint) if is_dataclass(one)):
        yield from _sections(inner, naming, seen, level)


def _member(choice: type[enum.Enum], member: enum.Enum) -> str:
    """The docstring under a member."""
    lines = inspect.getsource(choice).splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{member.name} ="))
    return lines[at + 1].strip().strip('"')


def _inside(hint: Any) -> Iterator[type]:
    if get_origin(hint) is None:
        if isinstance(hint, type):
            yield hint
        return
    for one in get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint):
        yield from _inside(one)


def _type(hint: Any) -> str:
    arms = _arms(hint)
    if len(arms) > 1:
        return ", or ".join(map(_type, arms))
    (one,) = arms
    base: Any = get_args(one)[0] if get_origin(one) is Annotated else one
    if form_of(one).way is Way.LIST:
        return f"list of {_type(get_args(base)[0])}"
    if get_origin(base) is Mapping:
        return f"mapping to {_type(get_args(base)[1])}"
    name = str(getattr(base, "__name__", ""))
    return f"[{name}](#{name.lower()})" if is_dataclass(base) else expectation(one)


def _arms(hint: Any) -> list[Any]:
    if get_origin(hint) in {None, tuple, Mapping, Annotated}:
        return [hint]
    return [one for one in get_args(hint) if one is not type(None)]


def _default(kind: Any, attribute: str) -> str:
    one = next(one for one in fields(kind) if one.name == attribute)
    if one.default is MISSING and one.default_factory is MISSING:
        return "must be said"
    held = one.default_factory() if one.default_factory is not MISSING else one.default
    if held is None or (not isinstance(held, (int, float)) and not held) or is_dataclass(held):
        return ""
    if isinstance(held, bool):
        return f"`{str(held).lower()}`"
    if isinstance(held, tuple):
        return "`[" + ", ".join(map(str, held)) + "]`"
    return f"`{held:g}`" if isinstance(held, float) else f"`{held}`"


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    arms = _arms(hint)
    if len(arms) > 1:
        return {"anyOf": [_schema(one, definitions) for one in arms]}
    (one,) = arms
    base: Any
    base, claims = (get_args(one)[0], get_args(one)[1:]) if get_origin(one) is Annotated else (one, ())
    if form_of(one).way is Way.LIST:
        return {"type": "array", "items": _schema(get_args(base)[0], definitions)}
    if get_origin(base) is Mapping:
        return {"type": "object", "additionalProperties": _schema(get_args(base)[1], definitions)}
    if is_dataclass(base):
        name = str(getattr(base, "__name__", ""))
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _record_schema(base, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return _scalar_schema(base, claims)


def _scalar_schema(base: Any, claims: tuple[Any, ...]) -> dict[str, Any]:
    if issubclass(base, enum.Enum):
        return {"enum": [one.value for one in base]}
    if base is bool:
        return {"type": "boolean"}
    if base is str:
        patterns = [one.pattern for one in claims if isinstance(one, Check) and one.pattern]
        return {"type": "string", "pattern": patterns[0]} if patterns else {"type": ["string", "number", "boolean"]}
    limits = next(one for one in claims if isinstance(one, Between))
    return {"type": "integer" if base is int else "number", "minimum": limits.low, "maximum": limits.high}


def _record_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    meanings = field_docstrings(kind, UNSAID)
    known = field_types(kind)
    schema: dict[str, Any] = {
        "type": "object",
        "description": _said(kind),
        "additionalProperties": False,
        "properties": {
            snake(one.attribute): _schema(one.hint, definitions) | {"description": meanings[one.attribute]}
            for one in known
        },
    }
    if required := [snake(one.attribute) for one in known if one.required]:
        schema["required"] = required
    return schema
