"""Drafts → the text of a mesh file, with a comment at each proposal and each decision."""

import re
from collections.abc import Iterable, Sequence

import yaml

from tulle.manifest.compose.draft import Draft
from tulle.manifest.compose.ledger import clean

_PLAIN = re.compile(r"[A-Za-z0-9_./](?:[A-Za-z0-9_./+=@%-]|:(?=[^\s:]))*(?: (?:[A-Za-z0-9_./+=@%-]|:(?=[^\s:]))+)*")
_OTHER_THAN_TEXT = re.compile(
    r"~|null|true|false|yes|no|on|off|y|n|[-+.]?[0-9][0-9_.,:eExXobOa-fA-F+-]*|\.(inf|nan)|0[xob].*", re.IGNORECASE
)
_WIDTH = 110


def write(mesh: str, remark: str, drafts: Iterable[Draft], head: Sequence[str]) -> str:
    """The whole file."""
    lines = [f"# {clean(one)}" for one in head]
    lines.append(f"mesh: {mesh}{_remark(remark)}")
    lines.append("")
    made = list(drafts)
    lines.append("services:" if made else "services: {}")
    for draft in made:
        lines.extend(f"  {one}" if one else "" for one in [*_service(draft), ""])
    return "\n".join(lines).rstrip("\n") + "\n"


def _service(draft: Draft) -> Iterable[str]:
    yield f"{draft.label}:"
    for one in draft.remarks:
        yield f"  # {clean(one)}"
    yield "  container:"
    for one in _container(draft):
        yield f"    {one}"
    if draft.port is not None:
        yield f"  port: {draft.port}{_remark(draft.port_remark)}"
    if draft.protocol:
        yield f"  protocol: {draft.protocol}{_remark(draft.protocol_remark)}"
    if draft.expose is not None:
        yield f"  expose: {draft.expose}"
    if draft.closed:
        yield f"  # {draft.closed}"
    if said := readiness(draft):
        yield f"  readiness: {said}{_remark(draft.health.told if draft.health else '')}"
    if draft.depends_on:
        yield from (f"  {one}" for one in _list("depends_on", draft.depends_on))
    for one in _allow(draft):
        yield f"  {one}"
    if draft.stop_seconds is not None:
        yield f"  stop_seconds: {draft.stop_seconds}{_remark(draft.stop_remark)}"


def _container(draft: Draft) -> Iterable[str]:
    yield f"image: {scalar(draft.image)}{_remark(draft.image_remark)}"
    if isinstance(draft.command, str):
        yield f"command: {scalar(draft.command)}"
    elif draft.command:
        yield from _list("command", draft.command)
    if draft.env:
        yield "env:"
        for name, value in draft.env.items():
            yield f"  {scalar(name)}: {scalar(value)}"
    if draft.mounts:
        yield from _list("mounts", draft.mounts)
    if draft.user:
        yield f"user: {scalar(draft.user)}"
    if draft.pull:
        yield f"pull: {draft.pull}"
    if draft.memory:
        yield f"memory: {draft.memory}{_remark(draft.memory_remark)}"
    if draft.cpus:
        yield f"cpus: {draft.cpus}"


def readiness(draft: Draft) -> str:
    """In one line; nothing where the mesh's own way, a connection to the port, says the same."""
    health = draft.health
    if health is None or not (draft.port or health.port):
        return ""
    said = {"path": scalar(health.path)} if health.path else {}
    if health.port and health.port != draft.port:
        said["port"] = str(health.port)
    said.update({name: str(value) for name, value in health.times.items()})
    if list(said) == ["path"]:
        return said["path"]
    return "{" + ", ".join(f"{name}: {value}" for name, value in said.items()) + "}" if said else ""


def _allow(draft: Draft) -> Iterable[str]:
    callers = ", ".join(draft.callers)
    if draft.port is None:
        if draft.callers:
            yield f"# decide: nothing says where it listens. Add `port`, and `allow: [{{from: [{callers}]}}]`, proposed from depends_on"
        return
    if not draft.callers and draft.expose is None:
        yield "# decide: no `allow`, so nothing may call it: nothing depends on it, and no door leads to it"
        return
    yield "allow:"
    if draft.callers:
        yield f"  - {{from: [{callers}]}} # proposed from depends_on: check who really calls"
    if draft.expose is not None:
        yield "  - {} # proposed from ports: anyone, as it was published; say which `methods` and `paths`"


def _list(name: str, values: Sequence[str]) -> Iterable[str]:
    flow = f"{name}: [{', '.join(_within(one) for one in values)}]"
    if len(flow) <= _WIDTH:
        yield flow
        return
    yield f"{name}:"
    for one in values:
        yield f"  - {scalar(one)}"


def _within(text: str) -> str:
    return scalar(text) if re.search(r"[:,\[\]{}]", text) is None else _quoted(text)


def scalar(text: str) -> str:
    """A text as YAML reads it back, whoever reads."""
    is_plain = _PLAIN.fullmatch(text) and not _OTHER_THAN_TEXT.fullmatch(text)
    return text if is_plain else _quoted(text)


def _quoted(text: str) -> str:
    made: str = yaml.dump(text, Dumper=yaml.SafeDumper, default_style='"', width=1 << 30, allow_unicode=True)
    return made.rstrip("\n").removesuffix("\n...")


def _remark(text: str) -> str:
    return f" # {clean(text)}" if text else ""
