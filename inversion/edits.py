"""Edits of noise maps. Each returns a bundle that keeps the invariant of `noise_maps`.

Geometry (section 4 of Huberman-Spiegelglas et al. 2024) moves all latents and maps alike, and with
them the model's x_0. The other edits leave that x_0 as it is, or interpolate it, and rebuild the
rest without the model: by `Step.carry`, a change of xs[i] reaches xs[i + 1].

Noise comes in as a tensor of unit normal values, shaped as `xs`; masks (batch, channels, *spatial)
and colours are shaped as one latent. `span` is the range of steps to edit.
"""

import math
from collections.abc import Callable
from textwrap import shorten
from typing import Literal

import torch
from torch import Tensor

from .noise_maps import NoiseMaps
from .schedule import Step

Fill = Literal["reflect", "wrap", "resample"]


def shift(maps: NoiseMaps, x: int, y: int, fill: Fill, place: tuple[float, float]) -> NoiseMaps:
    """The image moved by x cells to the right and y down.

    What comes in from outside is the mirrored picture, its other side, or one contiguous piece of
    the same maps (resample), cut at `place` (x, y in 0..1), the same for all.
    """
    height, width = maps.xs.shape[-2:]
    if fill != "wrap" and (abs(x) >= width or abs(y) >= height):
        raise ValueError(
            f"A shift by {x} x {y} latent cells moves all {width} x {height} out of the picture: "
            "shift by less, or set fill to wrap."
        )

    def move(values: Tensor) -> Tensor:
        return _shifted(_shifted(values, -1, x, fill, place[0]), -2, y, fill, place[1])

    return _moved(maps, move)


def flip(maps: NoiseMaps, dim: int) -> NoiseMaps:
    """The image mirrored along a dimension: -1 swaps left and right, -2 top and bottom."""
    return _moved(maps, lambda values: values.flip(dim))


def rotate(maps: NoiseMaps, turns: int) -> NoiseMaps:
    """The image turned clockwise by quarter turns; odd ones swap its sides."""
    return _moved(maps, lambda values: values.rot90(turns, (-1, -2)).contiguous())


def amplify(maps: NoiseMaps, factor: float, span: range) -> NoiseMaps:
    """The maps of the span multiplied by `factor`."""
    zs = maps.zs.clone()
    zs[span.start : span.stop] *= factor
    return _carried(maps, zs, torch.zeros_like(maps.xs[0]))


def push_colour(maps: NoiseMaps, colour: Tensor, strength: float, span: range) -> NoiseMaps:
    """The maps moved towards `colour` where a step has noise: z += strength (colour - denoised)."""
    zs, steps = maps.zs.clone(), maps.schedule.steps
    noisy = [i for i in span if steps[i].std > 0]
    if not noisy:
        raise ValueError(
            f"Steps {span.start} to {span[-1]} of these noise maps add no noise that could carry "
            "a colour: connect the noise maps of EF-DDPM Invert, and set first_step to a step "
            "before the last one."
        )
    for i in noisy:
        denoised = steps[i].recover_denoised(maps.xs[i], maps.xs[i + 1], maps.zs[i])
        zs[i] += strength * (colour - denoised)
    return _carried(maps, zs, torch.zeros_like(maps.xs[0]))


def renoise_path(maps: NoiseMaps, amount: float, noise: Tensor, span: range) -> NoiseMaps:
    """The same image with other noise on its path: `amount` of that noise's variance is new.

    Without noise in the steps (eta = 0) the whole path gets the same new noise.
    """
    steps = maps.schedule.steps
    if maps.schedule.eta == 0 and len(span) < len(steps):
        raise ValueError(
            f"first_step to last_step are steps {span.start} to {span[-1]}, but a variation of "
            "DDIM noise maps (eta 0) changes all steps: set first_step to 0 and last_step to -1."
        )
    # A latent between two steps belongs to both of their maps.
    redrawn = range(span.start + (span.start > 0), span.stop)
    if not redrawn:
        raise ValueError(
            f"A variation of step {span.start} alone changes nothing: set first_step lower or "
            "last_step higher."
        )
    x_0, xs, zs = _picture(maps), maps.xs.clone(), maps.zs.clone()
    for i in redrawn:
        xs[i] += _redraw(maps.xs[i], x_0, steps[i], amount, noise[i if maps.schedule.eta else 0])
    for i in range(max(redrawn.start - 1, 0), redrawn.stop):
        change, change_next = xs[i] - maps.xs[i], xs[i + 1] - maps.xs[i + 1]
        zs[i] += (change_next - steps[i].carry * change) / steps[i].scale
    return maps.replace(xs=xs, zs=zs)


def renoise_freely(maps: NoiseMaps, amount: float, noise: Tensor, span: range) -> NoiseMaps:
    """The maps of the span mixed with white noise, and so set free from the image; if the span
    begins at step 0, the first latent too.

    The noise has unit variance, as the sampler's own has: that of edit-friendly maps is far higher,
    and noise of their strength would tear the picture.
    """
    zs, steps = maps.zs.clone(), maps.schedule.steps
    for i in span:
        if steps[i].std > 0:
            zs[i] = math.sqrt(1 - amount) * zs[i] + math.sqrt(amount) * noise[i + 1]
    change = torch.zeros_like(maps.xs[0])
    if span.start == 0:
        change = _redraw(maps.xs[0], _picture(maps), steps[0], amount, noise[0])
    return _carried(maps, zs, change)


def mix(maps: NoiseMaps, other: NoiseMaps, amount: float) -> NoiseMaps:
    """An image between two: 0 is `maps`, 1 is `other`. The mixed noise keeps its strength."""
    _check_alike(maps, other)
    if amount in (0, 1):
        chosen = (maps, other)[int(amount)]
        return maps.replace(xs=chosen.xs, zs=chosen.zs, unit_roundoff=chosen.unit_roundoff)
    x_0A, x_0B = _picture(maps), _picture(other)
    x_0 = x_0A.lerp(x_0B, amount)
    xs, zs = torch.empty_like(maps.xs), torch.empty_like(maps.zs)
    for i, step in enumerate(maps.schedule.steps):
        n_A, n_B = _noise(maps.xs[i], x_0A, step), _noise(other.xs[i], x_0B, step)
        n = n_A.lerp(n_B, amount)
        square = _mean_square(n_A).lerp(_mean_square(n_B), amount)
        xs[i] = step.alpha * x_0 + step.sigma * n * (square / _mean_square(n)).sqrt()
    xs[-1] = x_0
    for i, step in enumerate(maps.schedule.steps):
        denoised_A, denoised_B = (
            step.recover_denoised(m.xs[i], m.xs[i + 1], m.zs[i]) for m in (maps, other)
        )
        mean = step.mean(xs[i], denoised_A.lerp(denoised_B, amount))
        zs[i] = (xs[i + 1] - mean) / step.scale
    return maps.replace(xs=xs, zs=zs, unit_roundoff=max(maps.unit_roundoff, other.unit_roundoff))


def blend(maps: NoiseMaps, edited: NoiseMaps, mask: Tensor) -> NoiseMaps:
    """`edited` where the mask is 1, `maps` where it is 0."""
    if edited.xs.shape != maps.xs.shape:
        raise ValueError(
            "An odd number of quarter turns swaps width and height, so no mask fits: leave out the "
            "mask, or crop the picture to a square."
        )
    return maps.replace(
        xs=torch.lerp(maps.xs, edited.xs, mask),
        zs=torch.lerp(maps.zs, edited.zs, mask),
        unit_roundoff=max(maps.unit_roundoff, edited.unit_roundoff),
    )


def _moved(maps: NoiseMaps, move: Callable[[Tensor], Tensor]) -> NoiseMaps:
    return maps.replace(xs=move(maps.xs), zs=move(maps.zs))


def _shifted(values: Tensor, dim: int, offset: int, fill: Fill, place: float) -> Tensor:
    """`values` moved by `offset` cells along a dimension."""
    if fill == "wrap":
        return values.roll(offset, dim)
    hole, size = abs(offset), values.shape[dim]
    if fill == "resample":
        piece = values.narrow(dim, int(place * (size - hole + 1)), hole)
    else:
        piece = values.narrow(dim, 0 if offset > 0 else size - hole, hole).flip(dim)
    kept = values.narrow(dim, max(-offset, 0), size - hole)
    return torch.cat((piece, kept) if offset > 0 else (kept, piece), dim)


def _carried(maps: NoiseMaps, zs: Tensor, change: Tensor) -> NoiseMaps:
    """The bundle with other `zs` and with `change` added to xs[0]; denoised stays as it is."""
    xs = maps.xs.clone()
    for i, step in enumerate(maps.schedule.steps):
        xs[i] += change
        change = step.carry * change + step.scale * (zs[i] - maps.zs[i])
    xs[-1] += change
    return maps.replace(xs=xs, zs=zs)


def _redraw(x: Tensor, x_0: Tensor, step: Step, amount: float, noise: Tensor) -> Tensor:
    """The change of x when `amount` of its noise's variance is replaced by `noise`."""
    kept = (math.sqrt(1 - amount) - 1) * _noise(x, x_0, step)
    return step.sigma * (kept + math.sqrt(amount) * noise)


def _noise(x: Tensor, x_0: Tensor, step: Step) -> Tensor:
    """The n of x = alpha x_0 + sigma n."""
    return (x - step.alpha * x_0) / step.sigma


def _picture(maps: NoiseMaps) -> Tensor:
    """x_0; ValueError where the schedule ends before it."""
    if maps.schedule.sigmas[-1] > 0:
        raise ValueError(
            f"The noise maps end at sigma {maps.schedule.sigmas[-1]:.3g}, before the image is "
            "clean: invert with sigmas that end at 0."
        )
    return maps.xs[-1]


def _mean_square(n: Tensor) -> Tensor:
    """The mean square of each item (batch, 1, 1, ...)."""
    return n.square().mean(tuple(range(1, n.ndim)), keepdim=True).clamp(min=1e-20)


def _check_alike(maps: NoiseMaps, other: NoiseMaps) -> None:
    """ValueError unless two bundles can be mixed."""
    if any(value is not None for m in (maps, other) for value in (m.uncond, m.uncond_pooled)):
        raise ValueError(
            "Noise maps with null text belong to one image and cannot be mixed: connect noise maps "
            "from before Null-Text Optimize."
        )
    for name, key in _ALIKE.items():
        one, two = key(maps), key(other)
        if one != two:
            raise ValueError(
                f"The noise maps to mix differ in {name} ({shorten(str(one), 60)} and "
                f"{shorten(str(two), 60)}): invert both images with the same model, size and "
                "schedule."
            )


_ALIKE: dict[str, Callable[[NoiseMaps], object]] = {
    "latent format": lambda maps: maps.latent_format,
    "latent shape": lambda maps: tuple(maps.xs.shape[1:]),
    "steps": lambda maps: len(maps.zs),
    "skipped steps": lambda maps: maps.skipped,
    "eta": lambda maps: maps.schedule.eta,
    "model family": lambda maps: "flow" if maps.schedule.flow else "not flow",
    "sigmas": lambda maps: maps.schedule.sigmas,
}
