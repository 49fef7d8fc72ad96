"""How much memory does null text take beside a plain step, on a network of full size?

    make bench NAME=memory

The UNet of SD 1.5 with arbitrary float32 weights on the CPU, at 32 x 32 latents: the peak resident
memory of one guided step, and of fitting its null text, with and without recomputed activations.
"""

import time
from functools import partial
from unittest.mock import patch

import torch

from ..nodes._host import gradients
from ..nodes.ddim import DDIMInvert
from ..nodes.inverted_sampler import InvertedSampler
from ..nodes.null_text import NullTextOptimize
from .full_size import sd15
from .measure import memory, options, print_table, write_results
from .task import outputs

STEPS, CFG, SIDE = 1, 7.5, 32


def modes() -> dict:
    """By name, functions that take one guided step or fit its null text."""
    generator = torch.Generator().manual_seed(0)
    model = sd15()
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
