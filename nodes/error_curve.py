"""The error of each step of a fit as a curve on the node: while it runs, and afterwards."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from comfy_api.latest import ui
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ._host import pictures
from ._host.progress import Progress
from .drawing import BLUE, FAINT, GROUND, INK

_SIZE, _TEXT, _MARGIN = (640, 360), 26, 16


def watched(steps: int) -> Callable[[int, Tensor, Tensor, Tensor], None]:
    """What a fit of so many steps calls after each, with the losses (images,) of that step."""
    errors = list[float]()
    progress = Progress(
        steps, lambda *_: pictures.show_progress(len(errors), steps, _draw(errors, steps))
    )

    def on_step(done: int, x: Tensor, denoised: Tensor, loss: Tensor) -> None:
        errors.append(loss.mean().item())
        progress(done, x, denoised, lambda: f"error {errors[-1]:.2g}")

    return on_step


def shown(errors: Sequence[float]) -> dict:
    """The curve as the `ui` of a node; nothing where there are no errors."""
    if not errors:
        return {}
    picture = torch.from_numpy(np.array(_draw(errors, len(errors)))) / 255
    return ui.PreviewImage(picture[None]).as_dict()


def _draw(errors: Sequence[float], steps: int) -> Image.Image:
    """The errors of the first steps of so many, on a logarithmic scale."""
    canvas = Image.new("RGB", _SIZE, GROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT)
    left, right = _MARGIN, _SIZE[0] - _MARGIN
    top, bottom = _MARGIN + 2 * _TEXT, _SIZE[1] - _MARGIN
    logs = [math.log10(max(error, 1e-12)) for error in errors]
    low, high = min(logs), max(logs)
    span = max(high - low, 1e-6)
    places = [
        (left + (right - left) * (i + 0.5) / steps, top + (bottom - top) * (high - log) / span)
        for i, log in enumerate(logs)
    ]
    draw.line([(left, top), (left, bottom), (right, bottom)], FAINT, 2)
    draw.line(places, BLUE, 4, joint="curve")
    x, y = places[-1]
    draw.ellipse([x - 6, y - 6, x + 6, y + 6], INK)
    words = f"step {len(errors)} of {steps}: error {errors[-1]:.2g}"
    draw.text((left, _MARGIN // 2), words, INK, font)
    largest = f"largest {max(errors):.2g}"
    draw.text((right, _MARGIN // 2), largest, FAINT, font, anchor="ra")
    return canvas
