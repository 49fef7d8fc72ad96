"""Reads the things and the ground of a demo picture with a small network.

The network scores each of 16 x 16 places: does a thing stand here, and which one? So it reads at
known places, as after an edit, and finds the things of a generated picture. `train_reader`
trains it. Needs no ComfyUI.
"""

import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ..world import COLOURS, GROUNDS, SHAPES, SIZES, Worlds

WEIGHTS = Path(__file__).with_name("reader.safetensors")
GRID = 16
NEAR = 0.25  # how far from its place a thing may stand, in half widths of the picture
PRESENT = 0.2  # the score from which a thing is there; a place half a cell off is taught 0.4
APART = 0.5  # how far from the first thing the second is looked for
_WIDTHS = (32, 48, 64)
NAMES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}


class Reading(NamedTuple):
    """What a batch of pictures shows, as in `Worlds`; `centres` (batch, 2, 2) are places."""

    colour: Tensor
    shape: Tensor
    size: Tensor
    present: Tensor
    ground: Tensor
    centres: Tensor


class Scores(NamedTuple):
    """Scores of words, (batch, words, 16, 16) or (batch, words) for the ground, and of presence."""

    colour: Tensor
    shape: Tensor
    size: Tensor
    presence: Tensor
    ground: Tensor


class Reader(nn.Module):
    """`Scores` of images (batch, 32, 32, 3): an hourglass on blocks of 2 x 2 pixels."""

    def __init__(self):
        super().__init__()
        pairs = itertools.pairwise((12, *_WIDTHS))
        self.down = nn.ModuleList(
            _block(narrow, wide, stride=1 if i == 0 else 2)
            for i, (narrow, wide) in enumerate(pairs)
        )
        self.up = nn.ModuleList((_block(64 + 48, 64), _block(64 + 32, 64)))
        self.places = nn.Conv2d(64, 1 + sum(map(len, NAMES.values())), 1)
        self.ground = nn.Linear(64, len(GROUNDS))

    def forward(self, images: Tensor) -> Scores:
        x, levels = functional.pixel_unshuffle(images.movedim(-1, 1) * 2 - 1, 2), []
        for block in self.down:
            x = block(x)
            levels.append(x)
        ground = self.ground(x.mean((2, 3)))
        for block, level in zip(self.up, (levels[1], levels[0]), strict=True):
            x = functional.interpolate(x, scale_factor=2.0)
            x = block(torch.cat([x, level], 1))
        widths = [*map(len, NAMES.values()), 1]
        colour, shape, size, presence = self.places(x).split(widths, 1)
        return Scores(colour, shape, size, presence[:, 0], ground)


def _block(narrow: int, wide: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(narrow, wide, 3, stride, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()
    )


@torch.no_grad()
def read(images: Tensor, places: Tensor | None = None) -> Reading:
    """The most likely words for images (batch, 32, 32, 3) on the CPU.

    Things are read near their `places` (batch, 2, 2), or where they are found; then the surer one
    comes first.
    """
    return read_with(_network(), images, places)


def read_for(worlds: Worlds, images: Tensor) -> Reading:
    """What images show where things are found, in that order of the two that fits `worlds` best."""
    seen = read(images)
    flipped = Reading._make(values.flip(1) if values.dim() > 1 else values for values in seen)
    better = hits(flipped, worlds).sum((1, 2)) > hits(seen, worlds).sum((1, 2))
    return Reading._make(
        torch.where(better.view(-1, *[1] * (value.dim() - 1)), other, value)
        for value, other in zip(seen, flipped, strict=True)
    )


def hits(seen: Reading, worlds: Worlds) -> Tensor:
    """Which of colour, shape, size and presence are as in `worlds`, (batch, 2, 4); all of an absent
    thing where none is seen.
    """
    alike = torch.stack([a == b for a, b in zip(seen[:4], worlds[:4], strict=True)], -1)
    present, shown = worlds.present[..., None], seen.present[..., None]
    return torch.where(present, alike & shown, ~shown)


@functools.cache
def _network() -> Reader:
    network = Reader()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def read_with(network: Reader, images: Tensor, places: Tensor | None) -> Reading:
    """As `read`, with a network of one's own."""
    scores = network(images[..., :3].float().clamp(0, 1))
    presence = scores.presence.flatten(1)
    if places is None:
        first = presence.argmax(1)
        apart = distances(_grid()[first][:, None])[:, 0].flatten(1) > APART
        cells = torch.stack([first, presence.masked_fill(~apart, -torch.inf).argmax(1)], 1)
    else:
        near = distances(places).flatten(2) < NEAR  # (batch, 2, places)
        cells = presence[:, None].masked_fill(~near, -torch.inf).argmax(2)
    colour, shape, size = (
        score.flatten(2).gather(2, cells[:, None].expand(-1, score.shape[1], -1)).argmax(1)
        for score in scores[:3]
    )
    present = presence.gather(1, cells).sigmoid() > PRESENT
    return Reading(colour, shape, size, present, scores.ground.argmax(1), _grid()[cells])


def _grid() -> Tensor:
    """The middles of the places, (256, 2) as x and y."""
    axis = (torch.arange(GRID) + 0.5) * 2 / GRID - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def distances(points: Tensor) -> Tensor:
    """Of points (batch, things, 2) from the middles of all places, (batch, things, 16, 16)."""
    return torch.cdist(points, _grid().expand(len(points), -1, -1)).unflatten(-1, (GRID, GRID))
