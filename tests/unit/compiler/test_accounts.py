"""What is said of single requests comes to the proxy, and how much of it is kept to the supervisor."""

from tulle import compiler, manifest
from tulle.compiler import Compiled
from tulle.wire.snapshot import AccessLog, Tracing


def compiled(text: str) -> Compiled:
    loaded = manifest.parse({"mesh.yaml": f"mesh: shop\n{text}"})
    assert isinstance(loaded, manifest.Loaded), loaded
    made = compiler.compile_mesh(loaded.resources, compiler.Facts(generation=1))
    assert isinstance(made, Compiled), made
    return made


def test_without_a_word_refusals_errors_and_a_hundredth_of_the_rest_are_logged() -> None:
    made = compiled("")

    assert made.snapshot.access_log == AccessLog(enabled=True, sample=0.01, query=False)
    assert made.snapshot.tracing == Tracing(create=True, sample=0.0)
    assert (made.plan.access_log_bytes, made.plan.access_log_files) == (4 << 20, 3)


def test_what_is_said_holds_beside_what_is_not() -> None:
    made = compiled(
        "telemetry: {access_log: {sample: 1, query: true, max_bytes: 65536, files: 2}, tracing: {create: false}}\n"
    )

    assert made.snapshot.access_log == AccessLog(sample=1.0, query=True)
    assert made.snapshot.tracing == Tracing(create=False)
    assert (made.plan.access_log_bytes, made.plan.access_log_files) == (65_536, 2)


def test_no_file_is_no_log() -> None:
    made = compiled("telemetry: {access_log: {files: 0}}\n")

    assert not made.snapshot.access_log.enabled
    assert made.plan.access_log_files == 0
