"""Reads the named attributes of a demo picture with a small network; `main` trains it.

It is trained on rendered worlds, shifted, warped, blurred, tinted and made noisy at random, so that
the flaws of generated and edited pictures do not turn a right shape into a wrong one. Needs no
ComfyUI.
"""

import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..world import COLOURS, GROUNDS, SHAPES, draw_worlds, render

WEIGHTS = Path(__file__).with_name("reader.safetensors")
SEED, STEPS, BATCH, LEARNING_RATE = 0, 2500, 128, 3e-3
TEST_SEED, TEST_IMAGES = 1_000_000, 10_000


class Attributes(NamedTuple):
    """What a batch of pictures shows; each (batch,), indices of SHAPES, COLOURS and GROUNDS."""

    shape: Tensor
    colour: Tensor
    ground: Tensor


class Reader(nn.Module):
    """Scores of each attribute, a tuple of (batch, words), for images (batch, 32, 32, 3)."""

    def __init__(self):
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        self.features = nn.Sequential()
        for i, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            stride = 1 if i == 0 else 2
            self.features.append(nn.Conv2d(narrow, wide, 3, stride, padding=1, bias=False))
            self.features.append(nn.BatchNorm2d(wide))
            self.features.append(nn.ReLU())
        # Shapes need to know where the parts lie, so the last 4 x 4 places are not averaged.
        self.shared = nn.Sequential(nn.Flatten(), nn.Linear(64 * 16, 48), nn.ReLU())
        names = SHAPES, COLOURS, GROUNDS
        self.heads = nn.ModuleList(nn.Linear(48, len(words)) for words in names)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.shared(self.features(images.movedim(-1, 1) * 2 - 1))
        return tuple(head(features) for head in self.heads)


@torch.no_grad()
def read(images: Tensor) -> Attributes:
    """The most likely attributes of images (batch, 32, 32, 3) on the CPU."""
    return _read(_network(), images)


@functools.cache
def _network() -> Reader:
    network = Reader()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def _read(network: Reader, images: Tensor) -> Attributes:
    scores = network(images[..., :3].float().clamp(0, 1))
    return Attributes(*(score.argmax(-1) for score in scores))


def _flaw(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images with the flaws of generated ones; how much of each is drawn per image."""
    count = len(images)

    def amount(*size: int) -> Tensor:
        return torch.rand(count, *size, generator=generator)

    x = images.movedim(-1, 1)
    # In half widths: shifts up to 2.4 pixels, and 6 x 6 points that move by up to 1.3 each.
    shift = 0.15 * amount(1, 1, 1) * (2 * amount(2, 1, 1) - 1)
    warp = 0.08 * amount(1, 1, 1) * (2 * amount(2, 6, 6) - 1)
    warp = functional.interpolate(warp, x.shape[-2:], mode="bicubic", align_corners=True)
    still = functional.affine_grid(torch.eye(2, 3).expand(count, 2, 3), x.shape, False)
    grid = still + (shift + warp).movedim(1, -1)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    edged = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    x = x.lerp(functional.avg_pool2d(edged, 3, 1), amount(1, 1, 1))
    # High guidance saturates, so contrast rises by more than it falls.
    x = 0.5 + (x - 0.5) * (0.85 + 0.5 * amount(1, 1, 1).square())
    x = x + 0.16 * amount(1, 1, 1) * (amount(3, 1, 1) - 0.5)
    x = x + 0.12 * amount(1, 1, 1) * torch.randn(x.shape, generator=generator)
    return x.clamp(0, 1).movedim(1, -1)


def _accuracy(network: Reader, flawed: bool) -> dict[str, float]:
    """The rate of right attributes on fresh worlds."""
    generator = torch.Generator().manual_seed(TEST_SEED)
    worlds = draw_worlds(TEST_IMAGES, generator)
    images = render(worlds)[0]
    images = _flaw(images, generator) if flawed else images
    read_ = _read(network, images)
    return {
        name: (getattr(read_, name) == getattr(worlds, name)).double().mean().item()
        for name in Attributes._fields
    }


def main() -> None:
    """Trains, saves as float16 and prints the accuracy of what was saved."""
    torch.manual_seed(SEED)
    network = Reader()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed((SEED << 32) + step)
        worlds = draw_worlds(BATCH, generator)
        scores = network(_flaw(render(worlds)[0], generator))
        losses = map(functional.cross_entropy, scores, worlds[:3])
        loss = sum(losses, start=torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1:>5}  loss {loss:.4f}", flush=True)
    values = network.state_dict().items()
    halves = {name: v.half() if v.is_floating_point() else v for name, v in values}
    save_file(halves, WEIGHTS)
    _network.cache_clear()
    with torch.no_grad():
        for flawed in (False, True):
            rates = _accuracy(_network(), flawed)
            print("flawed" if flawed else "clean ", {k: f"{v:.2%}" for k, v in rates.items()})
