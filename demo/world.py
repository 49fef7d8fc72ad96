"""The demo world: 32 x 32 pixel art, drawn so that every edit of a caption has a known ideal image.

A world is one or two coloured shapes on a ground. Its caption names their shapes and colours, the
ground, and sometimes their sizes; places, size within the range of a word, rotation, light,
textures and a small bystander are never named. Changing one named attribute and keeping the rest
draws the image that a perfect editor would return (`demo.tasks`).

Shapes: images are (batch, 32, 32, 3) in 0..1, masks (batch, 2, 32, 32) with one for each thing,
coordinates run from -1 to 1, +y down.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SIZE = 32
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
GROUNDS = ("grass", "sky", "sand", "night")
SIZES = ("small", "", "big")  # most captions name none: then it is the one in between
SMALL, UNNAMED, BIG = range(3)


def is_held_out(pairs: Tensor) -> Tensor:
    """Which pairs of colour and shape (..., 2) pictures for training never show."""
    return (pairs[..., None, :] == HELD_OUT_PAIRS).all(-1).any(-1)


# (pairs, 2): colour and shape; held out are green cross, yellow triangle and purple square.
PAIRS = torch.cartesian_prod(torch.arange(len(COLOURS)), torch.arange(len(SHAPES)))
HELD_OUT_PAIRS = torch.tensor([[1, 3], [3, 2], [4, 1]])
SEEN_PAIRS = PAIRS[~is_held_out(PAIRS)]

ALONE, NAMED_SIZE = 0.25, 0.4  # shares of worlds with one thing, of things with a word of size
_RANGES = torch.tensor([[0.25, 0.28], [0.34, 0.38], [0.43, 0.47]])  # of SIZES
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
_OUTLINE = 1.1 * _PIXEL
_UNNAMED = 24


class Worlds(NamedTuple):
    """A batch of worlds; the named attributes index COLOURS, SHAPES, SIZES and GROUNDS.

    `colour`, `shape`, `size` and `present` are (batch, 2); a thing that is not present keeps the
    place and the looks that it would have. `ground` is (batch,). `unnamed` (batch, 24) holds one
    uniform number in 0..1 for each property that no caption names.
    """

    colour: Tensor
    shape: Tensor
    size: Tensor
    present: Tensor
    ground: Tensor
    unnamed: Tensor


def draw_worlds(count: int, generator: torch.Generator, pairs: Tensor = SEEN_PAIRS) -> Worlds:
    """`count` random worlds, whose things take colour and shape from different rows of `pairs`."""
    first = torch.randint(len(pairs), (count,), generator=generator)
    other = torch.randint(1, len(pairs), (count,), generator=generator)
    looks = pairs[torch.stack([first, (first + other) % len(pairs)], 1)]
    named = torch.rand(count, 2, generator=generator) < NAMED_SIZE
    big = torch.rand(count, 2, generator=generator) < 0.5
    size = torch.where(named, torch.where(big, BIG, SMALL), UNNAMED)
    size[(size == BIG).all(1), 1] = SMALL  # two big things would overlap
    absent = torch.randint(2, (count,), generator=generator)
    alone = torch.rand(count, generator=generator) < ALONE
    return Worlds(
        colour=looks[..., 0],
        shape=looks[..., 1],
        size=size,
        present=~(alone[:, None] & (torch.arange(2) == absent[:, None])),
        ground=torch.randint(len(GROUNDS), (count,), generator=generator),
        unnamed=torch.rand(count, _UNNAMED, generator=generator),
    )


def captions(worlds: Worlds) -> list[str]:
    """One caption per world, for example "a big red circle and a blue square on grass"."""
    return [
        f"{' and '.join(_thing(*thing) for *thing, there in things if there)} on {GROUNDS[ground]}"
        for things, ground in zip(
            torch.stack(worlds[:4], -1).tolist(), worlds.ground.tolist(), strict=True
        )
    ]


def _thing(colour: int, shape: int, size: int) -> str:
    return " ".join(word for word in ("a", SIZES[size], COLOURS[colour], SHAPES[shape]) if word)


def centres(worlds: Worlds) -> Tensor:
    """Where the things stand, (batch, 2, 2) as x and y: on opposite sides of the middle."""
    u = worlds.unnamed
    angle = 2 * math.pi * u[:, :1] + torch.tensor([0, math.pi])
    distance = 0.46 + 0.06 * u[:, 1:3]
    return torch.stack([distance * torch.cos(angle), distance * torch.sin(angle)], -1)


def render(worlds: Worlds) -> tuple[Tensor, Tensor]:
    """Images and the masks of their things (outline included), empty for one that is absent."""
    axis = (torch.arange(SIZE) + 0.5) * _PIXEL - 1
    x, y = axis[None, None, :], axis[None, :, None]
    image = _ground(worlds.ground, x, y, worlds.unnamed[:, 4:11, None, None].unbind(1))
    image = _with_bystander(image, worlds, x, y)
    masks = []
    for i in range(2):
        image, mask = _with_thing(image, worlds, i, x, y)
        masks.append(mask)
    return image.clamp(0, 1), torch.stack(masks, 1)


def _with_thing(
    image: Tensor, worlds: Worlds, i: int, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """The image with thing `i` painted over, and what it covers."""
    light = 2 * math.pi * worlds.unnamed[:, 3, None, None]
    u = worlds.unnamed[:, 16 + 4 * i : 20 + 4 * i, None, None].unbind(1)
    low, high = _RANGES[worlds.size[:, i], :, None, None].unbind(1)
    size, rotation = low + (high - low) * u[0], (u[1] - 0.5) * 0.7
    centre_x, centre_y = centres(worlds)[:, i, :, None, None].unbind(1)
    dx, dy = x - centre_x, y - centre_y
    along = torch.cos(rotation) * dx + torch.sin(rotation) * dy
    across = torch.cos(rotation) * dy - torch.sin(rotation) * dx
    distance = _distance(worlds.shape[:, i, None, None], along, across, size)

    shade = 0.88 + 0.16 * (torch.cos(light) * dx + torch.sin(light) * dy) / size
    stripes = 0.035 * torch.sin((10 + 10 * u[2]) * along + 2 * math.pi * u[3])
    body = _RGB[worlds.colour[:, i]][:, None, None, :] * shade[..., None] + stripes[..., None]
    present = worlds.present[:, i, None, None].float()
    mask = _cover(distance) * present
    image = _paint(image, mask, _OUTLINE_RGB)
    return _paint(image, _cover(distance + _OUTLINE) * present, body), mask


def _with_bystander(image: Tensor, worlds: Worlds, x: Tensor, y: Tensor) -> Tensor:
    """In seven worlds of ten a disc stands beside the line through the things."""
    u = worlds.unnamed[:, 11:16, None, None].unbind(1)
    side = torch.where(u[0] > 0.5, 0.25, 0.75) + 0.1 * (u[1] - 0.5)
    angle = 2 * math.pi * (worlds.unnamed[:, :1, None] + side)
    distance = torch.hypot(x - 0.8 * torch.cos(angle), y - 0.8 * torch.sin(angle))
    kind = (u[3] * len(_BYSTANDER_RGB)).long()[:, 0, 0]
    cover = _cover(distance - (0.11 + 0.05 * u[2])) * (u[4] < 0.7).float()
    return _paint(image, cover, _BYSTANDER_RGB[kind][:, None, None, :])


def _distance(shape: Tensor, along: Tensor, across: Tensor, size: Tensor) -> Tensor:
    """Signed distance to the outline of each shape, negative inside."""
    a, b = along.abs(), across.abs()
    circle = torch.hypot(along, across) - size
    square = torch.maximum(a, b) - 0.82 * size
    root3 = math.sqrt(3)
    below = across - 0.12 * size
    triangle = torch.maximum(below - 0.62 * size, (root3 * a - below) / 2 - 0.62 * size)
    arm = 0.42 * size
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
