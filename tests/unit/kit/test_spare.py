"""What is spared is as good as not installed."""

import subprocess
import sys


def test_spared_module_cannot_be_imported_and_others_do_without() -> None:
    words = (
        "import sys\n"
        "from tulle.kit.spare import LIBRARIES, spare\n"
        "spare(*LIBRARIES)\n"
        "import asyncio, hashlib, msgspec\n"
        "print(hashlib.sha256(b'').hexdigest()[:8], sorted(name for name in LIBRARIES if sys.modules[name]))\n"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert done.stdout == "e3b0c442 []\n"
    assert done.stderr == ""


def test_what_was_spared_can_be_had_after_all_and_nothing_else_changes() -> None:
    words = (
        "from tulle.kit.spare import after_all, spare\n"
        "spare('ssl', 'wave')\n"
        "import asyncio.sslproto, json\n"
        "after_all('ssl')\n"
        "after_all('json')\n"
        "import ssl, sys\n"
        "print(hasattr(ssl, 'MemoryBIO'), asyncio.sslproto.ssl, sys.modules['wave'], sys.modules['json'] is json)\n"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert done.stdout == "True None None True\n"
    assert done.stderr == ""
