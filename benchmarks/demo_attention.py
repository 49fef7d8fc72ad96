"""Does the demo model look at a thing where it draws its words?

    make bench NAME=demo_attention

Noises drawn pictures of two things to the levels of a schedule, lets the model denoise them under
their captions, and averages the cross-attention of each thing's colour and shape word over the
transformers at 16 x 16, the heads and the levels. The table says how much more of it a place inside
the thing gets than a place of the other thing, and than any place outside of the thing.
"""

import torch
from comfy import model_management, samplers
from torch import Tensor
from torch.nn import functional

from ..demo.model import BLOCK, encode_captions, load_demo
from ..demo.text import TOKENS
from ..demo.world import COLOURS, SHAPES, SIZE, Worlds, captions, render
from .demo_model import two_things
from .measure import options, print_table, write_results

GRID = SIZE // BLOCK
STEPS = 25


class Recorder:
    """The sum of the cross-attention maps at 16 x 16, each (batch, places, tokens)."""

    def __init__(self):
        self.total = torch.zeros(())

    def __call__(self, attention, q: Tensor, k: Tensor, v: Tensor, heads: int, **kwargs) -> Tensor:
        if q.shape[1] == GRID**2 and k.shape[1] == TOKENS:
            split_q, split_k = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k))
            maps = torch.softmax(split_q @ split_k.mT * split_q.shape[-1] ** -0.5, -1)
            self.total = self.total + maps.mean(1)
        return attention(q, k, v, heads, **kwargs)


def record(worlds: Worlds, seed: int) -> Tensor:
    """Cross-attention over the levels of a schedule, (batch, places, tokens)."""
    patcher, clip, _ = load_demo("v")
    model_management.load_models_gpu([patcher])
    model, sampling = patcher.model, patcher.get_model_object("model_sampling")
    context = encode_captions(clip, captions(worlds))[0][0].to(patcher.load_device)
    x_0 = (render(worlds)[0].movedim(-1, 1) * 2 - 1).to(patcher.load_device)
    generator = torch.Generator().manual_seed(seed)
    recorder = Recorder()
    for sigma in samplers.calculate_sigmas(sampling, "ddim_uniform", STEPS)[:-1].tolist():
        noise = torch.randn(x_0.shape, generator=generator).to(x_0)
        sigmas = torch.full((len(x_0),), sigma).to(x_0)
        model.apply_model(
            sampling.noise_scaling(sigmas.view(-1, 1, 1, 1), noise, x_0),  # pyright: ignore[reportCallIssue]
            sigmas,
            c_crossattn=context,
            transformer_options={"optimized_attention_override": recorder},
        )
    return recorder.total.cpu()


def word_places(worlds: Worlds) -> Tensor:
    """Which tokens are the colour and the shape word of each thing, (batch, 2, tokens)."""
    rows = torch.zeros(len(worlds.ground), 2, TOKENS)
    for row, text in zip(rows, captions(worlds), strict=True):
        words = text.split()
        for names in (COLOURS, SHAPES):
            found = [i for i, word in enumerate(words) if word in names]
            row[torch.arange(2), found] = 0.5
    return rows


def measure(worlds: Worlds, attention: Tensor) -> dict[str, float]:
    """Ratios of the mean attention inside a thing to that in the other thing, and outside."""
    masks = functional.avg_pool2d(render(worlds)[1], BLOCK).flatten(2)  # (batch, 2, places)
    maps = torch.einsum("bpt,bit->bip", attention, word_places(worlds))

    def mean(weights: Tensor) -> Tensor:
        return (maps * weights).sum(2) / weights.sum(2)

    inside = mean(masks)
    ratios = {"other thing": inside / mean(masks.flip(1)), "outside": inside / mean(1 - masks)}
    return {name: ratio.log().mean().exp().item() for name, ratio in ratios.items()}


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=128).parse_args()
    worlds = two_things(args.worlds, torch.Generator().manual_seed(args.seed))
    ratios = measure(worlds, record(worlds, args.seed))
    print_table({f"inside over {name}": {"factor": factor} for name, factor in ratios.items()})
    write_results(args.out, "demo_attention", {"worlds": args.worlds, "steps": STEPS, **ratios})
