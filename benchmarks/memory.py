"""How much memory does null text take beside a plain step, on a network of full size?

    make bench NAME=memory

The UNet of SD 1.5 with arbitrary float32 weights on the CPU, at 32 x 32 latents: the peak resident
memory of one guided step, and of fitting its null text, with and without recomputed activations.
"""

import time
from functools import partial
from unittest.mock import patch

import torch
from comfy import model_base, model_patcher, supported_models

from ..nodes._host import gradients
from ..nodes.ddim import DDIMInvert
from ..nodes.inverted_sampler import InvertedSampler
from ..nodes.null_text import NullTextOptimize
from .measure import memory, options, print_table, write_results
from .task import outputs

STEPS, CFG, SIDE = 1, 7.5, 32
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


def modes() -> dict:
    """By name, functions that take one guided step or fit its null text."""
    generator = torch.Generator().manual_seed(0)
    model = build()
    prompts = [[[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2)]
    latent = {"samples": torch.randn(1, 4, SIDE, SIDE, generator=generator)}
    named = {"model": model, "positive": prompts[0], "negative": prompts[1]}
    schedule = {"steps": STEPS, "cfg": 1.0, "scheduler": "simple"}
    maps, *_ = outputs(DDIMInvert, **named, latent_image=latent, **schedule)
    named |= {"noise_maps": maps, "cfg": CFG}

    def fit(recomputed: bool) -> None:
        method = {"method": "fast", "inner_steps": 2, "learning_rate": 0.05}
        with patch.object(gradients, "_memory_is_short", return_value=recomputed):
            outputs(NullTextOptimize, **named, method=method)

    return {
        "plain step": partial(outputs, InvertedSampler, **named, skip_steps=0),
        "null text, recomputed": partial(fit, True),
        "null text": partial(fit, False),
    }


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=1).parse_args()
    rows, plain = {}, None
    for name, run in modes().items():
        started = time.perf_counter()
        _, peak = memory(run)
        seconds = time.perf_counter() - started
        plain = plain or (peak, seconds)
        row = {"MiB": peak / 2**20, "memory": peak / plain[0], "time": seconds / plain[1]}
        rows[name] = row
    print_table(rows)
    write_results(args.out, "memory", {"latent": SIDE, "steps": STEPS, "modes": rows})
