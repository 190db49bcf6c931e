"""Resources and facts of the node → Snapshot and Plan. Pure and deterministic."""

from tulle.compiler.compile import Compiled, Facts, compile_mesh
from tulle.compiler.references import sure_faults

__all__ = ["Compiled", "Facts", "compile_mesh", "sure_faults"]
