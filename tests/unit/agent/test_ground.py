"""What a node adds to its manifests."""

import sys
from pathlib import Path

from tulle.agent.main import ground_of


def test_python_is_found_whatever_path_tulle_was_started_with() -> None:
    ground = ground_of("shop", [Path("/etc/mesh.yaml")], {"PATH": "/usr/bin:/bin", "SECRET": "x"})

    assert dict(ground.environment) == {"PATH": f"/usr/bin:/bin:{Path(sys.executable).parent}"}


def test_relative_paths_start_beside_the_first_manifest_or_where_it_was_installed_from() -> None:
    manifests = [Path("/etc/tulle/shop/mesh.yaml"), Path("/elsewhere/more.yaml")]

    assert ground_of("shop", manifests, {}).base_dir == "/etc/tulle/shop"
    assert ground_of("shop", manifests, {}, Path("/srv/shop")).base_dir == "/srv/shop"
