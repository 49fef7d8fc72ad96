"""`inversion` is mathematics and `demo.world` a renderer: they must import where no host is."""

import subprocess
import sys

import in_host
import pytest
from house import HOST

GUARD = f"""
import importlib
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HOST}:
            raise ImportError(f"blocked: {{name}}")
sys.meta_path.insert(0, Guard())
sys.path.insert(0, {str(in_host.ROOT / "tools")!r})
import in_host
in_host.load_pack()
for name in sys.argv[1:]:
    importlib.import_module(f"imprint_pack.{{name}}")
"""


def import_without_host(*modules: str) -> subprocess.CompletedProcess:
    script = [sys.executable, "-c", GUARD, *modules]
    return subprocess.run(script, capture_output=True, text=True)


def test_the_mathematics_and_the_world_need_no_host():
    rooms = sorted(path.stem for path in (in_host.ROOT / "inversion").glob("*.py"))
    assert "walk" in rooms
    modules = [f"inversion.{room}" for room in rooms if room != "__init__"]
    run = import_without_host("inversion", *modules, "demo.world")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("module", ["nodes", "nodes._host.sampling", "demo.model"])
def test_the_guard_blocks(module):
    assert "blocked: comfy" in import_without_host(module).stderr
