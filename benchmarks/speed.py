"""How fast are inversion and edits beside the papers' loop, and how do they grow?

    make bench NAME=speed

The UNet of SD 1.5 with arbitrary float32 weights, on the CPU and at small latents, medians of runs
in turn. The papers' loop evaluates each timestep alone, with and without the prompt in a call each,
and inverts the steps that are skipped too. Memory is measured with a tiny convolutional UNet at the
latent of 1024 x 1024 pixels, where noise maps outweigh the network; the import as a starting
ComfyUI does it, after the host's own modules.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from comfy import sample
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import edit_friendly_path
from ..inversion.walk import extract_noise_maps, replay
from ..nodes._host import models
from ..nodes.ef_ddpm import EFDDPMInvert
from ..nodes.inverted_sampler import InvertedSampler
from .full_size import sd15
from .measure import ROOT, machine, memory, options, print_table, write_results
from .task import outputs
from .tiny_families import FAMILIES

STEPS, SKIP, CFG, SIDE = 11, 4, 3.5, 16  # the paper skips 36 of 100
REPEATS = 3
SCHEDULER = "simple"
BATCHES = (1, 2, 4, 8)
GROWTH_STEPS = (2, 4, 6, 8)
GROWTH_SIDES = (8, 16, 24)
EDITS = (1, 2, 4)
WITHOUT_ATTENTION = {
    "transformer_depth": [0, 0],
    "transformer_depth_output": [0] * 4,
    "transformer_depth_middle": -1,
}
MEMORY_SIDE, MEMORY_STEPS = 128, 20
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


class Graph(NamedTuple):
    """A model with its prompts and the latent of a picture."""

    model: ModelPatcher
    positive: list
    negative: list
    latent: Tensor

    def invert(self, steps: int, skip: int = 0, cfg: float = 1.0, batch: int = 0) -> NoiseMaps:
        maps, *_ = outputs(
            EFDDPMInvert, **self.wires(cfg), latent_image={"samples": self.latent}, seed=0,
            steps=steps, scheduler=SCHEDULER, skip_steps=skip, batch_timesteps=batch,
        )  # fmt: skip
        return maps

    def edit(self, maps: NoiseMaps, cfg: float, edits: int = 1) -> None:
        wires = self.wires(cfg)
        ((text, more),) = self.positive
        wires["positive"] = [[text.repeat(edits, 1, 1), more]]
        outputs(InvertedSampler, **wires, noise_maps=maps, skip_steps=0)

    def wires(self, cfg: float) -> dict:
        return {
            "model": self.model,
            "positive": self.positive,
            "negative": self.negative,
            "cfg": cfg,
        }

    def papers_loop(self) -> tuple[Callable[[], tuple], Callable[[NoiseMaps], Tensor]]:
        """Its inversion and its edit."""
        sigmas = models.model_sigmas(self.model, SCHEDULER, STEPS)
        schedule = models.schedule_of(self.model, sigmas, 1.0)
        noise = torch.randn(STEPS + 1, *self.latent.shape)
        path = edit_friendly_path(self.latent, schedule, noise)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            (text, _), (empty, _) = *self.positive, *self.negative
            uncond = self.model.model.apply_model(x, sigma, c_crossattn=empty)
            return uncond + CFG * (
                self.model.model.apply_model(x, sigma, c_crossattn=text) - uncond
            )

        return (
            lambda: NoiseMaps(*extract_noise_maps(denoise, path, schedule), schedule),
            lambda maps: replay(denoise, maps, SKIP),
        )


def arbitrary(model: ModelPatcher, side: int, width: int = 768, tokens: int = 77) -> Graph:
    generator = torch.Generator().manual_seed(0)
    texts = [[[torch.randn(1, tokens, width, generator=generator), {}]] for _ in range(2)]
    positive, negative = texts
    return Graph(model, positive, negative, torch.randn(1, 4, side, side, generator=generator))


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def medians(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of several runs, taken in turn."""
    found = [{name: seconds(run) for name, run in runs.items()} for _ in range(REPEATS)]
    return {name: statistics.median(row[name] for row in found) for name in runs}


def against_the_papers_loop(graph: Graph) -> dict[str, dict[str, float]]:
    """Seconds, and their share of the papers' loop."""
    invert, edit = graph.papers_loop()
    maps, cheap = graph.invert(STEPS, SKIP, CFG), graph.invert(STEPS, SKIP)
    found = medians(
        {
            "papers, inversion": invert,
            "papers, edit": partial(edit, invert()),
            "nodes, inversion": partial(graph.invert, STEPS, SKIP, CFG),
            "nodes, edit": partial(graph.edit, maps, CFG),
            "nodes at source cfg 1, inversion": partial(graph.invert, STEPS, SKIP),
            "nodes at source cfg 1, edit": partial(graph.edit, cheap, CFG),
        }
    )
    rows = {}
    for name in ("papers", "nodes", "nodes at source cfg 1"):
        inversion, edit = found[f"{name}, inversion"], found[f"{name}, edit"]
        rows[name] = {"inversion": inversion, "edit": edit, "whole": inversion + edit}
    whole = {key: rows["papers"][key] for key in ("inversion", "whole")}
    for row in rows.values():
        row |= {f"{key} / papers": row[key] / value for key, value in whole.items()}
    return rows


def outside_of_predictions(graph: Graph) -> dict[str, float]:
    """Predictions of an inversion and of an edit, and the share of time outside of the guider."""
    spent, predict = list[float](), CFGGuider.__call__

    def timed(*args, **kwargs):
        started = time.perf_counter()
        denoised = predict(*args, **kwargs)
        spent.append(time.perf_counter() - started)
        return denoised

    with patch.object(CFGGuider, "__call__", timed):
        whole = seconds(lambda: graph.edit(graph.invert(STEPS, SKIP), CFG))
    return {"predictions": len(spent), "outside": 1 - sum(spent) / whole}


def growth(graph: Graph) -> dict[str, dict[str, float]]:
    """Seconds over timesteps in a call, steps, sides of the latent and prompts in a batch."""
    few = GROWTH_STEPS[0]
    maps = graph.invert(few)
    batches = medians({str(n): partial(graph.invert, BATCHES[-1], 0, 1.0, n) for n in BATCHES})
    steps = medians({str(n): partial(graph.invert, n, 0, 1.0, 1) for n in GROWTH_STEPS})
    sides = medians(
        {str(n): partial(arbitrary(graph.model, n).invert, 2, 0, 1.0, 1) for n in GROWTH_SIDES}
    )
    edits = medians({str(n): partial(graph.edit, maps, CFG, n) for n in EDITS})
    return {
        "timesteps in a call": batches,
        "steps": steps,
        "side of the latent": sides,
        "prompts in a batch": edits,
    }


def peak_memory() -> dict[str, float]:
    """Peaks over that of KSampler with as many steps, in units of the noise maps."""
    family = FAMILIES["SD 1.5"]
    network = {**family.network, **WITHOUT_ATTENTION}
    graph = arbitrary(family._replace(network=network).model(), MEMORY_SIDE, 32, 8)
    noise = torch.randn_like(graph.latent)

    def ksampler() -> None:
        sample.sample(
            graph.model, noise, MEMORY_STEPS, 1.0, "euler", SCHEDULER, graph.positive,
            graph.negative, graph.latent, disable_pbar=True, seed=0,
        )  # fmt: skip

    def one_edit(batch: int) -> None:
        graph.edit(graph.invert(MEMORY_STEPS, 0, 1.0, batch), 1.0)

    maps = graph.invert(MEMORY_STEPS)
    size = 4 * (maps.xs.numel() + maps.zs.numel())
    del maps
    ksampler()  # what only a first run allocates
    one_edit(0)
    stock, single, automatic = (
        min(peak - before for before, peak in (memory(run) for _ in range(REPEATS)))
        for run in (ksampler, partial(one_edit, 1), partial(one_edit, 0))
    )
    rows = [16, *graph.latent.shape[1:]]
    return {
        "MB of the maps": size / 1e6,
        "one timestep a call": (single - stock) / size,
        "automatic, MB": (automatic - stock) / 1e6,
        "the host's estimate, MB": graph.model.model.memory_required(rows) / 1e6,
    }


def import_seconds() -> float:
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(command, cwd=ROOT / "tools", check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=1).parse_args()
    graph = arbitrary(sd15(), SIDE)
    found = {"machine": machine()}
    found |= {"steps": STEPS, "skip": SKIP, "cfg": CFG, "latent": SIDE}
    found |= {"import seconds": import_seconds(), "memory": peak_memory()}
    found["papers"] = against_the_papers_loop(graph)
    found["outside"] = outside_of_predictions(graph)
    tables = growth(graph)
    correlation = np.corrcoef(GROWTH_STEPS, [*tables["steps"].values()])[0, 1]
    found["r^2 over steps"] = float(correlation**2)
    found["growth"] = {
        f"{what}: {n}": {"seconds": value, "of the first": value / next(iter(table.values()))}
        for what, table in tables.items()
        for n, value in table.items()
    }
    print_table(found["papers"])
    print_table(found["growth"])
    print_table({"memory": found["memory"], "outside": found["outside"]})
    write_results(args.out, "speed", found)
