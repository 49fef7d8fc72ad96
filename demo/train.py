"""Trains the demo model from a seed: `make train PREDICTION=v`. Stops and resumes at any time.

The loss is the squared error of the host's own `denoised`, weighted so that it is the plain squared
error of what the network predicts: 1 / sigma^2 for eps and flow, (1 + sigma^2) / sigma^2 for v.
Every batch is drawn from a generator seeded by its number, so a resumed run sees the batches that
an uninterrupted one would have seen.
"""

import argparse
import time
from pathlib import Path

import torch
from comfy import utils
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .model import PREDICTIONS, TOKENS, WEIGHTS, WordEncoder, build_model, word_tokens
from .world import captions, draw_worlds, render

BATCH = 64
EMPTY_CAPTIONS = 0.1
LEARNING_RATE = 1e-3
WARM_UP, DECAY = 500, 0.3  # steps; last share of the run in which the learning rate falls to 0
SAVE_EVERY = 125


class Trained(nn.Module):
    """What is trained together: the denoiser and the text encoder."""

    def __init__(self, prediction: str):
        super().__init__()
        self.model = build_model(prediction)
        self.text = WordEncoder(dtype=torch.float32)
        self.requires_grad_(True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """torch's initialisation, which the host's layers skip; residual branches start at zero."""
        for module in self.modules():
            for kind in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm):
                if isinstance(module, kind):
                    kind.reset_parameters(module)
        nn.init.normal_(self.text.words.weight)
        for name, parameter in self.named_parameters():
            if ".out_layers.3." in name or "proj_out" in name or ".diffusion_model.out.2." in name:
                nn.init.zeros_(parameter)

    def forward(self, prediction: str, seed: int) -> Tensor:
        """The loss of the batch that `seed` draws."""
        generator = torch.Generator().manual_seed(seed)
        worlds = draw_worlds(BATCH, generator)
        x_0 = render(worlds)[0].movedim(-1, 1) * 2 - 1
        noise = torch.randn(x_0.shape, generator=generator)
        levels = torch.randint(1000, (BATCH,), generator=generator)
        named = torch.rand(BATCH, generator=generator) >= EMPTY_CAPTIONS
        tokens = [
            (word_tokens(caption) + [0] * TOKENS)[:TOKENS] if keep else [0] * TOKENS
            for caption, keep in zip(captions(worlds), named.tolist(), strict=True)
        ]
        sampling = self.model.model_sampling
        sigma = sampling.sigmas[levels]
        x = sampling.noise_scaling(sigma, noise, x_0)
        with torch.autocast("cpu" if not x.is_cuda else "cuda", torch.bfloat16):
            denoised = self.model.apply_model(
                x,
                sigma,
                c_crossattn=self.text.encode(tokens)[0],
                transformer_options={"optimized_attention_override": _attention},
            )
        weight = (1 + sigma**2 if prediction == "v" else 1.0) / sigma**2
        return (weight * (denoised - x_0).square().mean((1, 2, 3))).mean()


def _attention(chosen, *args, **kwargs) -> Tensor:
    del chosen  # the host's choice on a CPU is slow to differentiate
    return attention_pytorch(*args, **kwargs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prediction", choices=PREDICTIONS, default="v")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, required=True, help="resumed from, if it exists")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    trained = Trained(args.prediction)
    average = {name: value.detach().clone() for name, value in trained.state_dict().items()}
    optimizer = torch.optim.AdamW(
        trained.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    steps, first = args.images // BATCH, 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        trained.load_state_dict(state["trained"])
        optimizer.load_state_dict(state["optimizer"])
        average, first = state["average"], state["step"]

    losses, started = [], time.monotonic()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(
                1, (step + 1) / WARM_UP, (steps - step) / (DECAY * steps)
            )
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel's backward is slower at 8 x 8
            loss = trained(args.prediction, (args.seed << 32) + step)
            optimizer.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        decay = min(0.9995, (1 + step) / (10 + step))
        values = trained.state_dict()
        for name, value in average.items():
            value.lerp_(values[name].float(), 1 - decay) if value.is_floating_point() else None
        losses.append(loss.detach())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            rate = (step + 1 - first) * BATCH / (time.monotonic() - started)
            left = (steps - step - 1) * BATCH / rate / 60
            print(
                f"{(step + 1) * BATCH:>8} images  loss {torch.stack(losses).mean():.4f}  "
                f"{rate:.0f} images/s  {left:.0f} min left",
                flush=True,
            )
            losses.clear()
            state = {
                "trained": values,
                "optimizer": optimizer.state_dict(),
                "average": average,
                "step": step + 1,
            }
            partial = args.checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(args.checkpoint)
            save_weights(args.prediction, average)


def save_weights(prediction: str, average: dict[str, Tensor]) -> None:
    """The running average as float16: the network under its own names, the text encoder `words.`"""
    kept = ("model.diffusion_model.", "text.")
    WEIGHTS.mkdir(exist_ok=True)
    utils.save_torch_file(
        {
            name.removeprefix(prefix): value.half().contiguous()
            for prefix in kept
            for name, value in average.items()
            if name.startswith(prefix)
        },
        str(WEIGHTS / f"demo_{prediction}.safetensors"),
    )
