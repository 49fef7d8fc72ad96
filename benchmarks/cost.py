"""What an inversion and an edit cost beyond the model itself, and what the pack costs at start-up.

    python tools/in_host.py benchmarks.cost

Counts network rows and measures, in one run, the share of time spent outside the guider's
predictions. The import is timed as a starting ComfyUI does it, after the host's own modules. Edits,
saving and loading are measured on noise maps of the size of 100 SDXL steps, with the memory that
they take on top, as a multiple of the bundle's.
"""

import ctypes
import gc
import importlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import torch
from comfy.samplers import CFGGuider

from ..demo.model import encode_captions, load_demo
from ..demo.world import captions, draw_worlds, render
from .report import print_table, write_results

REPEATS = 5


def import_seconds() -> float:
    """Seconds to import the nodes afresh, after the host's own modules."""
    for name in ("nodes", "server", "comfy_api.latest"):
        importlib.import_module(name)
    pack = __package__.rpartition(".")[0]
    for name in [name for name in sys.modules if name.startswith((f"{pack}.nodes", f"{pack}.inv"))]:
        del sys.modules[name]
    del sys.modules[f"{pack}.demo.world"]
    started = time.perf_counter()
    importlib.import_module(f"{pack}.nodes")
    return time.perf_counter() - started


@contextmanager
def timed_predictions() -> Iterator[list[float]]:
    """The seconds of each prediction of any guider."""
    seconds: list[float] = []
    predict = CFGGuider.__call__

    def timed(self, *args, **kwargs):
        started = time.perf_counter()
        denoised = predict(self, *args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return denoised

    CFGGuider.__call__ = timed
    try:
        yield seconds
    finally:
        CFGGuider.__call__ = predict


def share_outside(run: Callable[[], object]) -> tuple[int, float]:
    """Predictions of one run, and the median share of its time outside of them."""
    shares = []
    for _ in range(REPEATS):
        with timed_predictions() as seconds:
            started = time.perf_counter()
            run()
            whole = time.perf_counter() - started
        shares.append(1 - sum(seconds) / whole)
    return len(seconds), statistics.median(shares)


def sdxl_maps():
    from ..inversion import NoiseMaps

    generator = torch.Generator().manual_seed(0)
    xs, zs = (torch.randn(n, 1, 4, 128, 128, generator=generator) for n in (101, 100))
    sigmas = tuple(14.6 * (1 - i / 100) ** 3 for i in range(101))
    return NoiseMaps(xs, zs, sigmas, 1.0, False, 0, {"latent_format": "SDXL"})


def cost(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds, the median of several runs, and bytes that the last run took on top at its peak."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # gives back what earlier runs left
    process, ended = psutil.Process(), threading.Event()
    before = largest = process.memory_info().rss

    def watch() -> None:
        nonlocal largest
        while not ended.wait(0.0005):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    ended.set()
    watcher.join()
    return statistics.median(seconds), largest - before


def material_rows(folder: Path) -> list[dict]:
    """A row for each operation of Noise Map Edit, with and without a mask, and for a file."""
    from ..inversion import read_noise_maps, write_noise_maps
    from ..nodes.edit import NoiseMapEdit

    maps = sdxl_maps()
    size = 4 * (maps.xs.numel() + maps.zs.numel())
    operations = {
        "shift": {"x": 24, "y": -40, "fill": "reflect", "variation": 0},
        "flip": {"axis": "horizontal"},
        "rotate": {"turns": 1},
        "gain": {"gain": 1.1},
        "colour": {"target": {"samples": torch.zeros(1, 4, 128, 128)}, "strength": 0.05},
        "renoise": {"kind": "variation", "amount": 1.0, "variation": 0},
        "mix": {"other": maps._replace(zs=maps.zs.flip(-1)), "amount": 0.5},
    }
    mask, path = torch.rand(1, 1024, 1024), folder / "maps.safetensors"
    runs = {
        f"{name}{' in a mask' if given is not None else ''}": partial(
            NoiseMapEdit.execute, maps, {"operation": name, **settings}, given
        )
        for name, settings in operations.items()
        for given in (None, mask)
    }
    runs["save"] = partial(write_noise_maps, maps, path, {})
    runs["load"] = partial(read_noise_maps, path)
    rows = []
    for name, run in runs.items():
        seconds, memory = cost(run)
        speed = {"seconds": seconds, "MB/s": size / seconds / 1e6, "memory": memory / size}
        rows.append({"of 100 SDXL steps": name, **speed})
    return rows


@torch.inference_mode()
def main() -> None:
    imported = import_seconds()
    from ..nodes.invert import EFDDPMInvert
    from ..nodes.sample import InvertedSampler

    model, clip, vae = load_demo("v")
    worlds = draw_worlds(1, torch.Generator().manual_seed(0))
    latent = {"samples": vae.encode(render(worlds)[0])}
    source, empty = (encode_captions(clip, texts) for texts in (captions(worlds), [""]))
    rows = []
    for cfg in (1.0, 3.5):
        settings = 0, 100, cfg, "ddim_uniform", 36
        invert = partial(EFDDPMInvert.execute, model, source, empty, latent, *settings)
        maps = invert().result[0]
        replay = partial(InvertedSampler.execute, model, source, empty, maps, cfg, 0)
        runs = {"invert": invert, "replay": replay}
        for name, run in runs.items():
            count, outside = share_outside(run)
            rows.append(
                {"node": name, "cfg": cfg, "predictions": count, "% outside": 100 * outside}
            )
    print_table(rows)
    print(f"importing the nodes: {imported:.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        material = material_rows(Path(folder))
    print_table(material)
    write_results("cost", {"rows": rows, "import seconds": imported, "material": material})
