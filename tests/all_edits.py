"""Every edit of noise maps, by name with working settings, and bundles to try them on."""

from functools import lru_cache

import torch
from imprint_pack.inversion.edits import (
    amplify,
    flip,
    mix,
    push_colour,
    renoise_freely,
    renoise_path,
    rotate,
    shift,
)
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.schedule import Schedule
from methods import ddpm
from problems import PromptedNetwork, answers, falling, normal
from torch import Tensor

STEPS = 100  # as long as the paper's schedule: rounding adds up over steps
ALL, SOME = range(STEPS), range(20, 61)
SQUARE, WIDE = (1, 4, 6, 6), (1, 4, 6, 9)


@lru_cache
def made(
    shape: tuple[int, ...],
    *,
    flow: bool = False,
    eta: float = 1.0,
    seed: int = 0,
    sigmas: tuple[float, ...] = (),
) -> tuple[NoiseMaps, Tensor]:
    """A bundle of a random picture by a random network, and what the network answered."""
    network = PromptedNetwork("flow" if flow else "v")
    x_0 = normal(*shape, seed=seed, dtype=torch.float32)
    schedule = Schedule(sigmas or falling(STEPS, flow), flow, 1.0)
    maps = ddpm(network, x_0, schedule, seed + 7, eta=eta, cfg=1.0)
    return maps, answers(network.replaying(maps), maps)


def other_of(maps: NoiseMaps) -> tuple[NoiseMaps, Tensor]:
    """Another picture, inverted alike."""
    shape, schedule = tuple(maps.xs.shape[1:]), maps.schedule
    return made(shape, flow=schedule.flow, eta=schedule.eta, seed=5, sigmas=schedule.sigmas)


def fresh(maps: NoiseMaps) -> Tensor:
    return normal(*maps.xs.shape, seed=3, dtype=maps.xs.dtype)


def colour_of(maps: NoiseMaps) -> Tensor:
    return torch.full_like(maps.xs[0], 0.7)


# By name: the edit, and what it makes of the network's answers (nothing, where none is given).
GEOMETRY = {
    "shift by reflect": lambda maps: shift(maps, 2, -1, "reflect", (0, 0)),
    "shift by wrap": lambda maps: shift(maps, -3, 2, "wrap", (0, 0)),
    "shift by resample": lambda maps: shift(maps, 4, 3, "resample", (0.4, 0.9)),
    "flip": lambda maps: flip(maps, -1),
    "rotate": lambda maps: rotate(maps, 1),
}
REPLAYED = {
    "gain": lambda maps: amplify(maps, 1.3, SOME),
    "gain of all": lambda maps: amplify(maps, 0.8, ALL),
    "colour": lambda maps: push_colour(maps, colour_of(maps), 0.05, SOME),
    "variation": lambda maps: renoise_path(maps, 0.6, fresh(maps), ALL),
    "variation of some": lambda maps: renoise_path(maps, 1.0, fresh(maps), SOME),
    "free": lambda maps: renoise_freely(maps, 0.5, fresh(maps), ALL),
    "free of some": lambda maps: renoise_freely(maps, 1.0, fresh(maps), SOME),
}
MIXED = {"mix": lambda maps: mix(maps, other_of(maps)[0], 0.3)}
EDITS = GEOMETRY | REPLAYED | MIXED


def answers_after(name: str, maps: NoiseMaps, denoised: Tensor) -> Tensor:
    """What the network answers along the edited path, by what the edit says of itself."""
    if name in GEOMETRY:
        return EDITS[name](maps.replace(zs=denoised)).zs
    return torch.lerp(denoised, other_of(maps)[1], 0.3) if name in MIXED else denoised
