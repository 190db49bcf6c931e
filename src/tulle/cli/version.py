"""`tulle version`: what is installed."""

import platform

import click

import tulle
from tulle.cli.options import json_option
from tulle.cli.words import show, show_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version, of Python too, and whether the hot modules are compiled; and which running processes have another."""
    compiled = is_compiled()
    if as_json:
        show_json({"tulle": tulle.__version__, "python": platform.python_version(), "compiled": compiled})
    else:
        show(
            f"tulle {tulle.__version__} (Python {platform.python_version()}, {'compiled' if compiled else 'interpreted'})"
        )
        for line in _others():
            show(line)


def _others() -> list[str]:
    """Processes of running meshes that were started from other code. Of a mesh that does not answer nothing is said."""
    from tulle.cli.running import all_running
    from tulle.cli.words import Failure

    lines = []
    for mesh in all_running():
        try:
            found = mesh.status(0.0)
        except Failure:
            continue
        processes = [
            ("supervisor", found.supervisor_pid, found.supervisor_version),
            ("agent", found.agent_pid, found.version),
        ]
        processes += [("proxy", one.pid, one.version) for one in found.proxies]
        lines += [
            f"mesh {mesh.name}: {name} pid {pid} runs tulle {version}"
            for name, pid, version in processes
            if version not in ("", tulle.__version__)
        ]
    return lines


def is_compiled() -> bool:
    """Whether the data plane's decisions run as machine code."""
    import tulle.core.authorize

    return not (tulle.core.authorize.__file__ or "").endswith(".py")
