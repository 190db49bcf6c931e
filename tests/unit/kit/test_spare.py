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
