"""Runs a module of the pack inside a ComfyUI: `python tools/in_host.py benchmarks.cost`.

The pack is imported under a fixed name from wherever it is checked out, and its root is never on
`sys.path`: there its `nodes/` would hide the host's `nodes.py`.
"""

import importlib
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACK = "imprint_pack"


def load_pack() -> ModuleType:
    """The pack as the package `imprint_pack`; needs no host."""
    if PACK not in sys.modules:
        spec = spec_from_file_location(
            PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec
        assert spec.loader
        sys.modules[PACK] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACK])
    return sys.modules[PACK]


def load_host() -> None:
    """Puts the ComfyUI at $COMFYUI_PATH on `sys.path`, on the CPU unless IMPRINT_GPU is set."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    arguments, sys.argv = sys.argv, sys.argv[:1]
    from comfy.cli_args import args

    sys.argv = arguments
    args.cpu = not os.environ.get("IMPRINT_GPU")
    # The host's nodes.py puts comfy/ first on the path, where utils.py would hide this package.
    importlib.import_module("utils.install_util")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    load_host()
    load_pack()
    sys.argv = sys.argv[1:]
    importlib.import_module(f"{PACK}.{sys.argv[0]}").main()
