"""What does attention control cost, on a network of full size?

    make bench NAME=attention_cost

The UNet of SD 1.5 with arbitrary float32 weights on the CPU, at 64 x 64 latents and cfg 1: a step
under a control, which takes two calls of one row, beside two steps without, and the peak memory.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from ..inversion.attention import Control
from ..inversion.cross_guidance import CrossGuidance
from ..inversion.injection import MasaCtrl, PlugAndPlay
from ..inversion.prompt_to_prompt import PromptToPrompt
from ..nodes._host.steering import AttentionControl
from ..nodes.ef_ddpm import EFDDPMInvert
from ..nodes.inverted_sampler import InvertedSampler
from .full_size import sd15
from .measure import memory, options, print_table, write_results
from .task import outputs

STEPS, SIDE, REPEATS, TOKENS = 2, 64, 3, 77


def controls() -> dict[str, Control | None]:
    """By name; all act at every step. None is no control."""
    ones = torch.ones(TOKENS)
    spans = ((0.0, 1.0),) * TOKENS
    return {
        "none": None,
        "Prompt-to-Prompt": PromptToPrompt(torch.eye(TOKENS), ones, ones, spans, 1.0, 16),
        "Plug-and-Play": PlugAndPlay(1.0, 1.0),
        "MasaCtrl": MasaCtrl(0.0, 0.625),
        "pix2pix-zero": CrossGuidance(0.1),
    }


def samplers() -> dict[str, Callable[[], tuple]]:
    """By control, a function that samples all steps."""
    generator = torch.Generator().manual_seed(0)
    source, target = ([[torch.randn(1, TOKENS, 768, generator=generator), {}]] for _ in range(2))
    wires = {"model": sd15(), "negative": source, "cfg": 1.0}
    latent = {"samples": torch.randn(1, 4, SIDE, SIDE, generator=generator)}
    settings = {"seed": 0, "steps": STEPS, "scheduler": "simple", "skip_steps": 0}
    (maps,) = outputs(EFDDPMInvert, **wires, positive=source, latent_image=latent, **settings)

    def sampler(rules: Control | None) -> Callable[[], tuple]:
        control = None if rules is None else AttentionControl(rules, source)
        given = {"noise_maps": maps, "skip_steps": 0, "attention_control": control}
        return partial(outputs, InvertedSampler, **wires, positive=target, **given)

    return {name: sampler(rules) for name, rules in controls().items()}


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=1).parse_args()
    runs = samplers()
    runs["none"]()  # loads the model
    taken = {name: list[float]() for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():  # in turn, so that the machine's mood hits all alike
            taken[name].append(seconds(run))
    peaks = {name: memory(run)[1] for name, run in runs.items()}
    rows = {
        name: {
            "time": statistics.median(
                mine / (2 * plain) for mine, plain in zip(taken[name], taken["none"], strict=True)
            ),
            "memory": peaks[name] / peaks["none"],
        }
        for name in runs
        if name != "none"
    }
    print_table(rows)
    write_results(args.out, "attention_cost", {"latent": SIDE, "steps": STEPS, "controls": rows})
