"""What an inversion and an edit cost beyond the model itself, and what the pack costs at start-up.

    python tools/in_host.py benchmarks.cost

Counts network rows and measures, in one run, the share of time spent outside the guider's
predictions. The import is timed as a starting ComfyUI does it, after the host's own modules.
"""

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

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
    write_results("cost", {"rows": rows, "import seconds": imported})
