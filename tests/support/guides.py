"""Guides as scripts: files that they show, commands that they type, and what they say comes of them."""

import re
from pathlib import Path

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./-]+)`[^\n`]*:\n\n```(?!console)\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(text: str, directory: Path) -> None:
    """Writes every block whose paragraph ends with the name of a file and a colon."""
    for name, body in _FILE.findall(text):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)


def typed(text: str) -> list[tuple[str, list[str]]]:
    """Each command of the console blocks, with what is shown of its output."""
    commands: list[tuple[str, list[str]]] = []
    for line in (line for language, body in FENCE.findall(text) if language == "console" for line in body.splitlines()):
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def is_shown(output: str, shown: list[str]) -> bool:
    """Whether it is what the guide shows; `…` stands for anything in a line, and alone for any lines."""
    pattern = "".join(r"(?s:.*)" if one == "…" else re.escape(one).replace("…", "[^\n]*") + "\n" for one in shown)
    return re.fullmatch(pattern, output.strip() + "\n") is not None
