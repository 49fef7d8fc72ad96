"""`inversion` is mathematics and the demo world is drawn and read: both import without a host."""

import json
import subprocess
import sys

import in_host
import pytest
from house import HOST

ROOMS = sorted(path.stem for path in (in_host.ROOT / "inversion").glob("*.py"))
FREE = ["inversion", *(f"inversion.{room}" for room in ROOMS if room != "__init__")]
FREE += ["demo.world", "demo.tasks", "demo.training.reader"]
OF_THE_HOST = ["nodes", "nodes._host.sampling", "demo.model"]
GUARDED = f"""
import importlib, json, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HOST}:
            raise ImportError(f"blocked: {{name}}")
sys.meta_path.insert(0, Guard())
sys.path.insert(0, {str(in_host.ROOT / "tools")!r})
import in_host
in_host.load_pack()
found = {{}}
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"imprint_pack.{{name}}")
        found[name] = "imported"
    except ImportError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def guarded() -> dict[str, str]:
    """What became of each import in a process that blocks the host."""
    script = [sys.executable, "-c", GUARDED, *FREE, *OF_THE_HOST]
    return json.loads(subprocess.check_output(script, text=True))


@pytest.mark.parametrize("module", FREE)
def test_the_mathematics_and_the_world_need_no_host(guarded, module):
    assert guarded[module] == "imported"


@pytest.mark.parametrize("module", OF_THE_HOST)
def test_the_guard_blocks(guarded, module):
    assert guarded[module].startswith("blocked: comfy")
