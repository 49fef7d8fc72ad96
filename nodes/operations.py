"""The operations of Noise Map Edit: what each asks for, and which edit of `inversion` it makes."""

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from comfy_api.latest import io

from ..inversion import edits
from ..inversion.noise_maps import NoiseMaps
from ._host import latents
from ._host.messages import tell
from .inputs import NoiseMapsType, check_noise_maps, seeded_noise

_FARTHEST, _BLUE = 16384, "#2060c0"
_SIDES = {"horizontal": -1, "vertical": -2}


class Operation(NamedTuple):
    """What one choice of the menu asks for, and the edit it makes: (maps, span, **settings)."""

    edit: Callable[..., NoiseMaps]
    inputs: list
    by_steps: bool = False


def _variation(tooltip: str) -> io.Int.Input:
    return io.Int.Input("variation", default=0, min=0, max=0x7FFFFFFF, tooltip=tooltip)


def _amount(default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "amount", default=default, min=0.0, max=1.0, step=0.05, round=0.001, tooltip=tooltip
    )


def cell_size(maps: NoiseMaps) -> int:
    """The side of a latent cell in pixels."""
    return latents.latent_format(maps).spacial_downscale_ratio


def _shift(maps: NoiseMaps, span: range, x, y, fill, variation) -> NoiseMaps:
    cell = cell_size(maps)
    right, down = round(x / cell), round(y / cell)
    if right == down == 0:
        raise ValueError(
            f"A shift by {x} x {y} pixels moves nothing, as latent cells are {cell} pixels wide: "
            f"set x or y to {cell} or more."
        )
    if (right * cell, down * cell) != (x, y):
        tell(f"Shifted by {right * cell} x {down * cell} pixels, whole latent cells.")
    place = torch.rand(2, generator=torch.Generator().manual_seed(variation)).tolist()
    return edits.shift(maps, right, down, fill, place)


def _flip(maps: NoiseMaps, span: range, axis) -> NoiseMaps:
    return edits.flip(maps, _SIDES[axis])


def _rotate(maps: NoiseMaps, span: range, turns) -> NoiseMaps:
    return edits.rotate(maps, turns)


def _gain(maps: NoiseMaps, span: range, gain) -> NoiseMaps:
    return edits.amplify(maps, gain, span)


def _colour(maps: NoiseMaps, span: range, strength, colour=_BLUE, target=None) -> NoiseMaps:
    if target is not None:
        goal = latents.like_maps(maps, target)
    elif isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6,8}", colour):
        rgb = bytes.fromhex(colour[1:7])  # Nodes 2.0 may add an opacity
        goal = latents.flat_colour(maps, tuple(value / 127.5 - 1 for value in rgb))
    else:
        raise ValueError(f"colour is {str(colour)[:20]}: pick one, such as {_BLUE}.")
    return edits.push_colour(maps, goal, strength, span)


def _renoise(maps: NoiseMaps, span: range, kind, amount, variation) -> NoiseMaps:
    renoise = {"variation": edits.renoise_path, "free": edits.renoise_freely}[kind]
    noise = seeded_noise({}, maps.xs[0], len(maps.zs), variation)
    return renoise(maps, amount, noise, span)


def _mix(maps: NoiseMaps, span: range, other, amount) -> NoiseMaps:
    check_noise_maps(other)
    return edits.mix(maps, other, amount)


OPERATIONS = {
    "shift": Operation(
        _shift,
        [
            io.Int.Input(
                "x",
                # At least one cell of every latent format, and less than the demo model's 32.
                default=24,
                min=-_FARTHEST,
                max=_FARTHEST,
                tooltip="Pixels to the right; rounded to whole latent cells (8 pixels in Stable "
                "Diffusion).",
            ),
            io.Int.Input(
                "y",
                default=0,
                min=-_FARTHEST,
                max=_FARTHEST,
                tooltip="Pixels down; rounded to whole latent cells.",
            ),
            io.Combo.Input(
                "fill",
                options=["reflect", "wrap", "resample"],
                default="reflect",
                tooltip="What comes in from outside: the mirrored image (reflect), its other side "
                "(wrap), or one random piece of the same maps (resample, the paper's).",
            ),
            _variation("Chooses the piece that resample takes."),
        ],
    ),
    "flip": Operation(
        _flip,
        [
            io.Combo.Input(
                "axis",
                options=list(_SIDES),
                default="horizontal",
                tooltip="horizontal swaps left and right, vertical top and bottom.",
            )
        ],
    ),
    "rotate": Operation(
        _rotate,
        [
            io.Int.Input(
                "turns",
                default=1,
                min=-3,
                max=3,
                tooltip="Quarter turns clockwise; odd ones swap the sides of the image.",
            )
        ],
    ),
    "gain": Operation(
        _gain,
        [
            io.Float.Input(
                "gain",
                default=1.0,
                min=0.0,
                max=10.0,
                step=0.05,
                round=0.001,
                tooltip="Multiplies the maps. Above 1 the image is imprinted more strongly, below "
                "more weakly; 0.8 to 1.2 is useful.",
            )
        ],
        by_steps=True,
    ),
    "colour": Operation(
        _colour,
        [
            io.Latent.Input(
                "target",
                optional=True,
                tooltip="Another picture to push to, through VAE Encode, in place of the colour "
                "below. It is resized.",
            ),
            io.Float.Input(
                "strength",
                default=0.05,
                min=-1.0,
                max=1.0,
                step=0.01,
                round=0.0001,
                tooltip="How hard each step pushes. 0.05 is the paper's for 100 steps; with fewer "
                "steps set it higher. Negative pushes away.",
            ),
            io.Color.Input(
                "colour",
                default=_BLUE,
                optional=True,
                tooltip="The colour to push to. It has no effect while a target is connected.",
            ),
        ],
        by_steps=True,
    ),
    "renoise": Operation(
        _renoise,
        [
            io.Combo.Input(
                "kind",
                options=["variation", "free"],
                default="variation",
                tooltip="variation gives the same image other random maps, for another edit of it. "
                "free replaces them by plain noise, so that the prompt decides what to see.",
            ),
            _amount(1.0, "How much of the noise is new: 0 changes nothing, 1 replaces all of it."),
            _variation("Chooses the new noise."),
        ],
        by_steps=True,
    ),
    "mix": Operation(
        _mix,
        [
            NoiseMapsType.Input(
                "other",
                tooltip="The second image, inverted with the same model, size and schedule.",
            ),
            _amount(0.5, "0 is the first image, 1 the second."),
        ],
    ),
}
