"""How much memory does null text take beside a plain step, on a network of full size?

    python tools/in_host.py benchmarks.memory

The UNet of SD 1.5 with arbitrary float32 weights on the CPU, at 32 x 32 latents: the peak resident
memory of a process that samples one guided step, and of processes that fit its null text, with and
without recomputation of activations. Writes `benchmarks/results/memory.json`.
"""

import resource
import subprocess
import sys
import time

import torch
from comfy import model_base, model_patcher, supported_models

from ..nodes import _gradients as gradients
from ..nodes.invert_ddim import DDIMInvert
from ..nodes.optimize import NullTextOptimize
from ..nodes.sample import InvertedSampler
from .report import ROOT, print_table, write_results

STEPS, CFG = 1, 7.5
MODES = ("plain step", "null text", "null text, recomputed")
SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "use_spatial_transformer": True,
    "legacy": False,
}


def build() -> model_patcher.ModelPatcher:
    """As a loader leaves it: weights made under inference mode."""
    config = supported_models.SD15(dict(SD15))
    config.set_inference_dtype(torch.float32, None)
    model = model_base.BaseModel(config, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(float("norm" in name and name.endswith("weight")))
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


@torch.inference_mode()
def measure(mode: str) -> None:
    """Prints this process's peak memory in MiB and the seconds of the step."""
    generator = torch.Generator().manual_seed(0)
    model = build()
    prompts = [[[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2)]
    latent = {"samples": torch.randn(1, 4, 32, 32, generator=generator)}
    maps = DDIMInvert.execute(model, *prompts, latent, STEPS, 1.0, "simple").result[0]
    started = time.perf_counter()
    if mode == "plain step":
        InvertedSampler.execute(model, *prompts, maps, CFG, 0)
    else:
        gradients._memory_is_short = lambda *args: mode.endswith("recomputed")
        settings = {"method": "online", "inner_steps": 2, "learning_rate": 0.05}
        NullTextOptimize.execute(model, *prompts, maps, CFG, settings)
    seconds = time.perf_counter() - started
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds)


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    rows = []
    for mode in MODES:
        command = [sys.executable, ROOT / "tools" / "in_host.py", "benchmarks.memory", mode]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        mebibytes, seconds = map(float, out.splitlines()[-1].split())
        rows.append({"mode": mode, "peak MiB": mebibytes, "seconds": seconds})
    plain = rows[0]
    rows = [
        {
            "mode": row["mode"],
            "peak MiB": row["peak MiB"],
            "x plain": row["peak MiB"] / plain["peak MiB"],
            "time x plain": row["seconds"] / plain["seconds"],
        }
        for row in rows
    ]
    print_table(rows)
    write_results("memory", {"latent": "32 x 32", "dtype": "float32", "modes": rows})
