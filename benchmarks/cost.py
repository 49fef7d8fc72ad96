"""What an inversion and an edit cost beyond the model itself, and what the pack costs at start-up.

    make bench NAME=cost

Counts predictions and measures the share of time spent outside of them. The import is timed as a
starting ComfyUI does it, after the host's own modules. Edits, saving and loading are measured on
noise maps of the size of 100 SDXL steps, with the memory that they take on top, as a multiple of
the bundle's.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from comfy.samplers import CFGGuider

from ..inversion.file import read_noise_maps, write_noise_maps
from ..inversion.noise_maps import NoiseMaps
from ..inversion.schedule import Schedule
from ..nodes.noise_map_edit import NoiseMapEdit
from .measure import ROOT, memory, options, print_table, write_results
from .task import Task, edit_task

REPEATS = 5
STEPS, SKIP, CFGS = 100, 36, (1.0, 3.5)
SDXL_STEPS, SDXL_SIDE = 100, 128
IMPORT = """
import importlib, sys, time
import in_host
sys.path.pop(0)  # its folder
in_host.load_host(), in_host.load_pack()
for name in ("nodes", "server", "comfy_api.latest"):
    importlib.import_module(name)
started = time.perf_counter()
importlib.import_module(f"{in_host.PACK}.nodes")
print(time.perf_counter() - started)
"""


def import_seconds() -> float:
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(command, cwd=ROOT / "tools", check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


@contextmanager
def timed_predictions() -> Iterator[list[float]]:
    """The seconds of each prediction of any guider."""
    seconds, predict = list[float](), CFGGuider.__call__

    def timed(*args, **kwargs):
        started = time.perf_counter()
        denoised = predict(*args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return denoised

    with patch.object(CFGGuider, "__call__", timed):
        yield seconds


def beyond_the_model(run: Callable[[], object]) -> dict[str, float]:
    """Predictions of one run, and the median share of its time outside of them."""
    shares, count = [], 0
    for _ in range(REPEATS):
        with timed_predictions() as seconds:
            started = time.perf_counter()
            run()
            whole = time.perf_counter() - started
        shares.append(1 - sum(seconds) / whole)
        count = len(seconds)
    return {"predictions": count, "outside": statistics.median(shares)}


def inversion_and_replay(task: Task) -> dict[str, dict]:
    rows = {}
    for cfg in CFGS:
        invert = partial(task.invert, task.x_0, STEPS, cfg=cfg, skip=SKIP)
        runs = {"invert": invert, "replay": partial(task.replay, invert(), task.source_prompt, cfg)}
        for name, run in runs.items():
            rows[f"{name}, cfg {cfg:g}"] = beyond_the_model(run)
    return rows


def sdxl_maps() -> NoiseMaps:
    generator = torch.Generator().manual_seed(0)
    xs, zs = (
        torch.randn(n, 1, 4, SDXL_SIDE, SDXL_SIDE, generator=generator)
        for n in (SDXL_STEPS + 1, SDXL_STEPS)
    )
    sigmas = tuple(14.6 * (1 - i / SDXL_STEPS) ** 3 for i in range(SDXL_STEPS + 1))
    return NoiseMaps(xs, zs, Schedule(sigmas, flow=False, eta=1.0), latent_format="SDXL")


def material(maps: NoiseMaps, folder: Path) -> Mapping[str, Callable[[], object]]:
    """Each operation of Noise Map Edit, with and without a mask, and a file, by name."""
    target = {"samples": torch.zeros_like(maps.xs[0])}
    operations = {
        "shift": {"x": 24, "y": -40, "fill": "reflect", "variation": 0},
        "flip": {"axis": "horizontal"},
        "rotate": {"turns": 1},
        "gain": {"gain": 1.1},
        "colour": {"target": target, "strength": 0.05},
        "renoise": {"kind": "variation", "amount": 1.0, "variation": 0},
        "mix": {"other": maps.replace(zs=maps.zs.flip(-1)), "amount": 0.5},
    }
    mask, path = torch.rand(1, 8 * SDXL_SIDE, 8 * SDXL_SIDE), folder / "maps.safetensors"
    edits = {
        f"{name}{', masked' if given is not None else ''}": partial(
            NoiseMapEdit.execute, maps, {"operation": name, **settings}, mask=given
        )
        for given in (None, mask)
        for name, settings in operations.items()
    }
    files = {
        "save": partial(write_noise_maps, maps, path, {}),
        "load": partial(read_noise_maps, path),
    }
    return edits | files


def cost(run: Callable[[], object], size: int) -> dict[str, float]:
    """Median seconds of several runs, and the memory that another takes on top."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    before, peak = memory(run)
    return {"seconds": median, "MB/s": size / median / 1e6, "memory": (peak - before) / size}


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=1).parse_args()
    nodes = inversion_and_replay(edit_task("colour", args.worlds, args.seed))
    maps, imported = sdxl_maps(), import_seconds()
    size = 4 * (maps.xs.numel() + maps.zs.numel())
    with tempfile.TemporaryDirectory() as folder:
        runs = material(maps, Path(folder)).items()
        rows = {name: cost(run, size) for name, run in runs}
    for table in (nodes, rows, {"import of the nodes": {"seconds": imported}}):
        print_table(table)
    edits = [row for name, row in rows.items() if name not in ("save", "load")]
    extremes = {
        key: {"least": min(row[key] for row in edits), "most": max(row[key] for row in edits)}
        for key in ("seconds", "memory")
    }
    found = {"steps": STEPS, "skip": SKIP, "nodes": nodes, "import seconds": imported}
    found["outside"] = max(row["outside"] for row in nodes.values())
    found |= {"MB": size / 1e6, "material": rows, "edits": extremes}
    write_results(args.out, "cost", found)
