"""The demo world: 32 x 32 pixel art, drawn so that every edit of a caption has a known ideal image.

A world is one coloured shape on a ground. Its caption names shape, colour and ground; position,
size, rotation, light, textures and a small bystander are never named. Changing one named attribute
and keeping the rest draws the image that a perfect editor would return.

Shapes: images are (batch, 32, 32, 3) in 0..1, masks (batch, 32, 32), coordinates run from -1 to 1,
+y down.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SIZE = 32
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
GROUNDS = ("grass", "sky", "sand", "night")

_RGB = torch.tensor(
    [
        [0.86, 0.16, 0.16],
        [0.13, 0.68, 0.28],
        [0.15, 0.33, 0.88],
        [0.97, 0.83, 0.15],
        [0.58, 0.22, 0.76],
        [0.95, 0.95, 0.95],
    ]
)
_BYSTANDER_RGB = torch.tensor([[0.45, 0.28, 0.16], [0.95, 0.55, 0.65], [0.35, 0.36, 0.38]])
_OUTLINE_RGB = torch.tensor([0.10, 0.09, 0.13])
_PIXEL = 2.0 / SIZE
_UNNAMED = 20


class Worlds(NamedTuple):
    """A batch of worlds; the named attributes index SHAPES, COLOURS and GROUNDS.

    `unnamed` (batch, 20) holds one uniform number in 0..1 for each property that no caption names.
    """

    shape: Tensor
    colour: Tensor
    ground: Tensor
    unnamed: Tensor


def draw_worlds(count: int, generator: torch.Generator) -> Worlds:
    """`count` random worlds."""
    words = (SHAPES, COLOURS, GROUNDS)
    named = [torch.randint(len(names), (count,), generator=generator) for names in words]
    return Worlds(*named, unnamed=torch.rand(count, _UNNAMED, generator=generator))


def captions(worlds: Worlds) -> list[str]:
    """One caption per world, for example "a red circle on grass"."""
    return [
        f"a {COLOURS[colour]} {SHAPES[shape]} on {GROUNDS[ground]}"
        for shape, colour, ground in zip(*(t.tolist() for t in worlds[:3]), strict=True)
    ]


def render(worlds: Worlds) -> tuple[Tensor, Tensor]:
    """Images and the masks of their captioned objects (outline included)."""
    u = worlds.unnamed[:, :, None, None].unbind(1)  # each (batch, 1, 1)
    axis = (torch.arange(SIZE) + 0.5) * _PIXEL - 1
    x, y = axis[None, None, :], axis[None, :, None]

    centre_x, centre_y = (u[0] - 0.5) * 0.4, (u[1] - 0.5) * 0.4
    size, rotation = 0.55 + 0.14 * u[2], (u[3] - 0.5) * 0.7
    dx, dy = x - centre_x, y - centre_y
    along = torch.cos(rotation) * dx + torch.sin(rotation) * dy
    across = torch.cos(rotation) * dy - torch.sin(rotation) * dx
    distance = _distance(worlds.shape[:, None, None], along, across, size)

    light = 2 * math.pi * u[4]
    shade = 0.88 + 0.16 * (torch.cos(light) * dx + torch.sin(light) * dy) / size
    stripes = 0.035 * torch.sin((6 + 6 * u[5]) * along + 2 * math.pi * u[6])
    body = _RGB[worlds.colour][:, None, None, :] * shade[..., None] + stripes[..., None]

    image = _ground(worlds.ground, x, y, u[7:14])
    bystander_x = torch.where(centre_x > 0, -0.8, 0.8) + 0.08 * (u[14] - 0.5)
    bystander_y = torch.where(u[15] > 0.5, -0.8, 0.8) + 0.08 * (u[16] - 0.5)
    bystander = torch.hypot(x - bystander_x, y - bystander_y) - (0.15 + 0.05 * u[17])
    kind = (u[18] * len(_BYSTANDER_RGB)).long()[:, 0, 0]
    present = (u[19] < 0.7).float()
    image = _paint(image, _cover(bystander) * present, _BYSTANDER_RGB[kind][:, None, None, :])

    mask = _cover(distance)
    image = _paint(image, mask, _OUTLINE_RGB)
    image = _paint(image, _cover(distance + 1.3 * _PIXEL), body)
    return image.clamp(0, 1), mask


def _distance(shape: Tensor, along: Tensor, across: Tensor, size: Tensor) -> Tensor:
    """Signed distance to the outline of each shape, negative inside."""
    a, b = along.abs(), across.abs()
    circle = torch.hypot(along, across) - size
    square = torch.maximum(a, b) - 0.86 * size
    root3 = math.sqrt(3)
    below = across - 0.12 * size
    triangle = torch.maximum(below - 0.66 * size, (root3 * a - below) / 2 - 0.66 * size)
    arm = 0.4 * size
    cross = torch.minimum(torch.maximum(a - arm, b - size), torch.maximum(b - arm, a - size))
    return torch.stack(torch.broadcast_tensors(circle, square, triangle, cross), 0).gather(
        0, shape.expand_as(circle)[None]
    )[0]


def _cover(distance: Tensor) -> Tensor:
    """Share of each pixel that lies inside."""
    return (0.5 - distance / _PIXEL).clamp(0, 1)


def _paint(image: Tensor, cover: Tensor, rgb: Tensor) -> Tensor:
    return image + cover[..., None] * (rgb - image)


def _ground(ground: Tensor, x: Tensor, y: Tensor, u: tuple[Tensor, ...]) -> Tensor:
    """The textured background of each world (batch, 32, 32, 3)."""
    phase = [2 * math.pi * value for value in u[:4]]
    blades = torch.sin((14 + 5 * u[4]) * x + phase[0] + 1.5 * torch.sin(5 * y + phase[1]))
    blades = blades * torch.sin(9 * y + phase[2] + 3 * x)
    grass = torch.tensor([0.36, 0.60, 0.25]) + blades[..., None] * torch.tensor([0.05, 0.07, 0.04])

    height = (y + 1)[..., None] / 2
    sky = torch.tensor([0.42, 0.68, 0.95]) + height * torch.tensor([0.25, 0.17, 0.04])
    cloud = torch.hypot((x - 1.6 * (u[5] - 0.5)) / 2.2, y - 1.6 * (u[6] - 0.5)) - 0.28
    sky = sky + 0.75 * (0.5 - cloud / 0.25).clamp(0, 1)[..., None] * (1 - sky)

    ripples = torch.sin(
        10 * (y + 0.3 * torch.sin(2.5 * x + phase[0])) + (u[4] - 0.5) * 4 * x + phase[1]
    )
    sand = torch.tensor([0.87, 0.75, 0.50]) + 0.05 * ripples[..., None]

    night = torch.tensor([0.06, 0.07, 0.20]) + height * torch.tensor([0.04, 0.03, 0.10])
    discs = (
        _cover(torch.hypot(x - 1.8 * (u[i] - 0.5), y - 1.8 * (u[j] - 0.5)) - 0.6 * _PIXEL)
        for i, j in ((0, 1), (2, 3), (4, 5), (6, 0), (1, 6))
    )
    stars = sum(discs, start=torch.zeros(()))
    night = night + 0.75 * stars.clamp(0, 1)[..., None]

    grounds = torch.stack(torch.broadcast_tensors(grass, sky, sand, night), 0)
    return grounds[ground, torch.arange(len(ground))]
