"""The bench's own programs in C, compiled when it starts."""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

from benchmarks.process import Lacking


def compile_program(name: str, work: Path, *flags: str) -> Path:
    """The program (or library, as the flags say) of `name`.c, beside this file, in `work`. Raises Lacking where there is no C compiler."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise Lacking(f"no C compiler `{compiler}` for {name}.c (apt-get install gcc libc6-dev)")
    program = work / name
    source = Path(__file__).with_name(f"{name}.c")
    said = subprocess.run([compiler, "-O2", *flags, "-o", program, source], capture_output=True, text=True, check=False)
    if said.returncode:
        raise Lacking(f"{source.name} does not compile:\n{said.stderr[-1500:]}")
    return program
