"""A comparison of pictures with words in it, drawn in a few milliseconds."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

GROUND, INK, FAINT, BLUE = "#1e1e1e", "#f0f0f0", "#a0a0a0", "#58a6ff"
_PANEL, _GAP, _TEXT, _LINE, _NARROWEST = 320, 8, 40, 56, 260


def draw_comparison(
    before: Tensor, after: Tensor, difference: Tensor, words: Sequence[str]
) -> Tensor:
    """Three pictures (height, width, 3) under their names and lines of words in a square, large
    enough to be read on a narrow node; returns (height, width, 3).

    A difference is made smaller by its largest values: a single wrong pixel stays visible.
    """
    height, width = before.shape[:2]
    scale = _PANEL / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    shrink = adaptive_max_pool2d if scale < 1 else _enlarged
    panels = [_area(before, size), _area(after, size), _resized(difference, shrink, size)]
    right, below = max(size[1], _NARROWEST) + _GAP, size[0] + _LINE
    canvas = Image.new("RGB", (2 * right - _GAP, 2 * below), GROUND)
    draw = ImageDraw.Draw(canvas)
    places = [(0, 0), (right, 0), (0, below)]
    names = "before", "after", "difference"
    for name, panel, (left, top) in zip(names, panels, places, strict=True):
        _write(draw, name, (left, top, right - _GAP, _LINE), FAINT)
        canvas.paste(_as_picture(panel), (left + (right - _GAP - size[1]) // 2, top + _LINE))
    if not difference.any():
        _write(draw, "none", (0, below + _LINE, right - _GAP, size[0]), FAINT)
    line = below // len(words)
    for i, text in enumerate(words):
        _write(draw, text, (right, below + i * line, right - _GAP, line), INK)
    return torch.from_numpy(np.asarray(canvas) / np.float32(255))


def _write(
    draw: ImageDraw.ImageDraw, words: str, place: tuple[int, int, int, int], ink: str
) -> None:
    """Words in the middle of a box (left, top, width, height), smaller where they do not fit."""
    left, top, width, height = place
    needed = ImageFont.load_default(_TEXT).getlength(words)
    font = ImageFont.load_default(min(_TEXT, _TEXT * width / needed, 0.8 * height))
    draw.text((left + width / 2, top + height / 2), words, ink, font, anchor="mm")


def _area(picture: Tensor, size: tuple[int, int]) -> Tensor:
    if size[0] >= picture.shape[0]:
        return _resized(picture, _enlarged, size)
    return _resized(picture, lambda x, size: interpolate(x, size, mode="area"), size)


def _enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(x, size, mode="nearest-exact")


def _resized(picture: Tensor, resize, size: tuple[int, int]) -> Tensor:
    """A picture (height, width, 3) resized by a function of (batch, channels, height, width)."""
    return resize(picture.movedim(-1, 0)[None], size)[0].movedim(0, -1)


def _as_picture(panel: Tensor) -> Image.Image:
    return Image.fromarray((panel.clamp(0, 1) * 255).round().byte().cpu().numpy())
