"""`inversion` is mathematics: it must import where no host is."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = (
    "comfy",
    "comfy_api",
    "comfy_execution",
    "nodes",
    "folder_paths",
    "server",
    "latent_preview",
)
GUARD = f"""
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(f"blocked: {{name}}")
sys.meta_path.insert(0, Guard())
sys.path.insert(0, {str(Path(__file__).parents[1] / "tools")!r})
import in_host
in_host.load_pack()
import importlib
"""


def imports(module: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", f"{GUARD}\nimportlib.import_module('imprint_pack.{module}')"],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("module", ["inversion", "demo.world", "demo.tasks", "demo.reader"])
def test_needs_no_host(module):
    assert imports(module).returncode == 0


def test_the_guard_blocks():
    assert "blocked: comfy" in imports("nodes").stderr
