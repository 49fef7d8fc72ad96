"""Trains the demo model from a seed: `make train PREDICTION=v`. Stops and resumes at any time.

The loss is the squared error of the host's own `denoised`, weighted so that it is the plain squared
error of what the network predicts: 1 / sigma^2 for eps and flow, (1 + sigma^2) / sigma^2 for v.
Every batch is drawn from a generator seeded by its number, so a resumed run sees the batches that
an uninterrupted one would have seen. A resumed run may name another number of images: it decides
when the learning rate starts to fall. A run may start from the weights of another prediction: what
it learned of words helps every model, and its layers help one of the same kind. A trained model may
teach: what it makes of a noisy picture has the expectation of the picture, and far less noise.
"""

import argparse
import time
from pathlib import Path

import torch
from comfy import model_management
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..model import PREDICTIONS, TEXT, WEIGHTS, build_model
from ..text import TOKENS, WordEncoder, word_tokens
from ..world import captions, draw_worlds, render

BATCH = 64
EMPTY_CAPTIONS = 0.1
LEARNING_RATE = 1e-3
WARM_UP, DECAY = 500, 0.5  # steps; last share of the run in which the learning rate falls to 0
LEVEL_WIDTH = 1.2  # of the logit-normal levels that flow is trained at
SAVE_EVERY = 250

NETWORK = "model.diffusion_model."

# What ends a residual branch or scales one: of the UNet, then of the joint transformer.
RESIDUAL = (
    ".out_layers.3.",
    "proj_out",
    ".diffusion_model.out.2.",
    "adaLN_modulation.1.",
    "final_layer.linear.",
)


class Trained(nn.Module):
    """What is trained together: the denoiser and the text encoder."""

    def __init__(self, prediction: str):
        super().__init__()
        self.prediction = prediction
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
        for embedding in (self.text.words, self.text.positions):
            nn.init.normal_(embedding.weight)
        for name, parameter in self.named_parameters():
            if any(branch in name for branch in RESIDUAL):
                nn.init.zeros_(parameter)

    def start_from(self, prediction: str) -> None:
        """Takes over those weights of another trained model that this one has too."""
        own = self.state_dict()
        weights = load_file(WEIGHTS / f"demo_{prediction}.safetensors")
        for saved, value in weights.items():
            name = saved if saved.startswith(TEXT) else f"{NETWORK}{saved}"
            if name in own and own[name].shape == value.shape:
                own[name].copy_(value)

    def draw_levels(self, generator: torch.Generator) -> Tensor:
        """Indices of the noise levels of one batch."""
        if self.prediction != "flow":
            return torch.randint(1000, (BATCH,), generator=generator)
        middle = torch.sigmoid(LEVEL_WIDTH * torch.randn(BATCH, generator=generator))
        return (1000 * middle).long().clamp(max=999)

    def teach(self, x: Tensor, sigma: Tensor, x_0: Tensor, tokens: list[list[int]]) -> Tensor:
        """What this model makes of x_0 + sigma noise, in the shape of `x_0`; above the highest
        level that it knows, x_0 itself.
        """
        highest = self.model.model_sampling.sigma_max.to(sigma)
        with torch.no_grad():
            denoised = self.model.apply_model(
                x, sigma.minimum(highest), c_crossattn=self.text.encode(tokens)[0]
            )
        return denoised.where((sigma <= highest)[:, None, None, None], x_0)

    def forward(self, seed: int, teacher: "Trained | None" = None) -> Tensor:
        """The loss of the batch that `seed` draws, against what `teacher` makes of it."""
        generator = torch.Generator().manual_seed(seed)
        worlds = draw_worlds(BATCH, generator)
        x_0 = render(worlds)[0].movedim(-1, 1) * 2 - 1
        noise = torch.randn(x_0.shape, generator=generator)
        levels = self.draw_levels(generator)
        named = torch.rand(BATCH, generator=generator) >= EMPTY_CAPTIONS
        tokens = [
            (word_tokens(caption) + [0] * TOKENS)[:TOKENS] if keep else [0] * TOKENS
            for caption, keep in zip(captions(worlds), named.tolist(), strict=True)
        ]
        sampling = self.model.model_sampling
        sigma = sampling.sigmas[levels.to(sampling.sigmas.device)]
        x_0 = x_0.to(sigma)
        x = sampling.noise_scaling(sigma, noise.to(sigma), x_0)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=_fast_bfloat16(x.device)):
            denoised = self.model.apply_model(
                x,
                sigma,
                c_crossattn=self.text.encode(tokens)[0],
                transformer_options={"optimized_attention_override": _attention},
            )
        if teacher:
            alpha = 1 - sigma if self.prediction == "flow" else torch.ones_like(sigma)
            x_0 = teacher.teach(x / alpha[:, None, None, None], sigma / alpha, x_0, tokens)
        weight = (1 + sigma**2 if self.prediction == "v" else 1.0) / sigma**2
        return (weight * (denoised - x_0).square().mean((1, 2, 3))).mean()


def _fast_bfloat16(device: torch.device) -> bool:
    """A CPU without AVX-512 emulates it, 13 times slower than it computes in float32."""
    return device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_f", False)


def _attention(chosen, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
    """Plain steps; the kernels that the host chooses on a CPU are slow to differentiate."""
    del chosen, args
    if not kwargs.get("skip_reshape"):  # the joint transformer splits the heads of v alone
        q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.mT, -1)
    return (weights @ v).transpose(1, 2).flatten(2)


def learning_rate(step: int, steps: int) -> float:
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP, (steps - step) / (DECAY * steps))


def train_step(
    trained: Trained, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
    optimizer.step()


def update_average(average: dict[str, Tensor], trained: Trained, step: int) -> None:
    """Moves the running average of the weights, in place."""
    decay = min(0.9995, (1 + step) / (10 + step))
    for name, value in trained.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value.float(), 1 - decay)


def train(
    trained: Trained, images: int, seed: int, checkpoint: Path, teacher: Trained | None = None
) -> None:
    """Trains to `images` images in all, from `checkpoint` where there is one."""
    average = {name: value.detach().clone() for name, value in trained.state_dict().items()}
    optimizer = torch.optim.AdamW(
        trained.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    steps, first = images // BATCH, 0
    if checkpoint.exists():
        device = next(trained.parameters()).device
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        trained.load_state_dict(state["trained"])
        optimizer.load_state_dict(state["optimizer"])
        average, first = state["average"], state["step"]

    losses, started = [], time.monotonic()
    for step in range(first, steps):
        rate = learning_rate(step, steps)
        loss = trained((seed << 32) + step, teacher)
        train_step(trained, optimizer, loss, rate)
        losses.append(loss.detach())
        update_average(average, trained, step)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            speed = (step + 1 - first) * BATCH / (time.monotonic() - started)
            print(
                f"{(step + 1) * BATCH:>8} images  loss {torch.stack(losses).mean():.4f}  "
                f"{speed:.0f} images/s  {(steps - step - 1) * BATCH / speed / 60:.0f} min left",
                flush=True,
            )
            losses.clear()
            state = {"trained": trained.state_dict(), "optimizer": optimizer.state_dict()}
            partial = checkpoint.with_suffix(".partial")
            torch.save({**state, "average": average, "step": step + 1}, partial)
            partial.replace(checkpoint)
            save_weights(trained.prediction, average)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the demo model.")
    parser.add_argument("--prediction", choices=PREDICTIONS, default="v")
    parser.add_argument("--images", type=int, default=610_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", choices=PREDICTIONS, help="whose weights to start from")
    parser.add_argument("--teacher", choices=PREDICTIONS, help="whose pictures to learn from")
    parser.add_argument("--checkpoint", type=Path, required=True, help="resumed from, if it exists")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    trained = Trained(args.prediction)
    if args.start_from:
        trained.start_from(args.start_from)
    teacher = None
    if args.teacher:
        teacher = Trained(args.teacher)
        teacher.start_from(args.teacher)
        teacher.to(model_management.get_torch_device())
    trained.to(model_management.get_torch_device())
    train(trained, args.images, args.seed, args.checkpoint, teacher)


def save_weights(prediction: str, average: dict[str, Tensor]) -> None:
    """The running average as float16: the network under its own names, the text encoder `text.`"""
    WEIGHTS.mkdir(exist_ok=True)
    save_file(
        {
            name.removeprefix(NETWORK): value.half().contiguous()
            for name, value in average.items()
            if name.startswith((NETWORK, TEXT))
        },
        WEIGHTS / f"demo_{prediction}.safetensors",
    )
