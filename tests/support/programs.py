"""Debian's programs that some tests run."""

import shutil

import pytest

PACKAGES = {
    "busybox": "busybox-static",
    "cc": "gcc",
    "curl": "curl",
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "nghttpd": "nghttp2-server",
    "nginx": "nginx",
    "podman": "podman crun runc",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "strace": "strace",
    "taskset": "util-linux",
    "valgrind": "valgrind",
    "wrk": "wrk",
}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips where one of these is missing, and says what to install."""
    missing = [one for one in programs if shutil.which(one) is None]
    packages = " ".join(sorted({PACKAGES[one] for one in missing}))
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}: apt install {packages}")
