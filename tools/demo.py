"""`make demo`: edits a picture file on a real ComfyUI server and writes out/demo.png.

The picture row shows source | reconstruction | edits; the graph is tools/demo.json, as the
browser saves it.
"""

import shutil
import sys
import time

from .environment import ROOT
from .host import set_up
from .server import run_workflow, serve

WORKFLOW = ROOT / "tools" / "demo.json"
PICTURE = ROOT / "demo" / "imprint_demo.png"


def main() -> None:
    host = set_up()
    with serve(host) as server:
        shutil.copy(PICTURE, server.input)
        started = time.monotonic()
        outputs = run_workflow(server, WORKFLOW)
        seconds = time.monotonic() - started
        saved = [
            item
            for output in outputs.values()
            for item in output.get("images", [])
            if item["type"] == "output"
        ]
        picture = ROOT / "out" / "demo.png"
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(server.image(saved[0]))
    report = next(line for output in outputs.values() for line in output.get("text", []))
    print(f"Reconstruction: {report}.")
    print(f"One inversion, one reconstruction and the edits took {seconds:.1f} s.")
    print(f"source | reconstruction | edits: {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
