"""The pack under a fixed name, wherever it is checked out."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("in_host", Path(__file__).parents[1] / "tools" / "in_host.py")
in_host = sys.modules["in_host"] = module_from_spec(spec)
spec.loader.exec_module(in_host)
in_host.load_pack()
