"""What edits of noise maps, saving and loading cost.

    make bench NAME=cost

On noise maps of the size of 100 SDXL steps, with the memory that they take on top, as a multiple of
the bundle's.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from ..inversion.file import read_noise_maps, write_noise_maps
from ..inversion.noise_maps import NoiseMaps
from ..inversion.schedule import Schedule
from ..nodes.noise_map_edit import NoiseMapEdit
from .measure import memory, options, print_table, write_results

REPEATS = 5
SDXL_STEPS, SDXL_SIDE = 100, 128


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
    maps = sdxl_maps()
    size = 4 * (maps.xs.numel() + maps.zs.numel())
    with tempfile.TemporaryDirectory() as folder:
        runs = material(maps, Path(folder)).items()
        rows = {name: cost(run, size) for name, run in runs}
    print_table(rows)
    edits = [row for name, row in rows.items() if name not in ("save", "load")]
    extremes = {
        key: {"least": min(row[key] for row in edits), "most": max(row[key] for row in edits)}
        for key in ("seconds", "memory")
    }
    found = {"steps": SDXL_STEPS, "MB": size / 1e6, "material": rows, "edits": extremes}
    write_results(args.out, "cost", found)
