"""Every inversion method of the pack, once: `METHODS` is what tests/test_methods.py and
tests/host/test_every_method.py run over. A new method adds one entry and inherits their tests.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from imprint_pack.inversion.fast_null_text import fast_null_text_inversion
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.null_text import null_text_inversion
from imprint_pack.inversion.paths import (
    ddim_path,
    edit_friendly_path,
    native_path,
    recorded_path,
    shifted_path,
)
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.walk import extract_noise_maps
from problems import PromptedNetwork, noise_for
from torch import Tensor

Invert = Callable[[PromptedNetwork, Tensor, Schedule, int], NoiseMaps]


class Method(NamedTuple):
    """`invert` takes a problem, x_0, a schedule (whose eta the method may replace) and a seed.

    `nodes` are its nodes in the order of a graph, by id and with the settings that are not
    defaults; a setting in a menu is `menu.setting`. `draws` says that the method makes its picture
    itself, in the shape of x_0.
    """

    name: str
    invert: Invert
    nodes: list[tuple[str, dict[str, Any]]]
    draws: bool = False

    def __str__(self) -> str:
        return self.name


def ddpm(
    problem: PromptedNetwork,
    x_0: Tensor,
    schedule: Schedule,
    seed: int = 0,
    *,
    path=edit_friendly_path,
    eta: float = 1.0,
    cfg: float = 3.5,
    batch_timesteps: int = 1,
) -> NoiseMaps:
    schedule = replace(schedule, eta=eta)
    noisy = path(x_0, schedule, noise=noise_for(x_0, schedule, seed))
    xs, zs = extract_noise_maps(problem.denoise(cfg), noisy, schedule, batch_timesteps)
    return NoiseMaps(xs, zs, schedule, cfg=cfg)


def shifted(
    problem: PromptedNetwork, x_0: Tensor, schedule: Schedule, seed: int = 0, **settings: Any
) -> NoiseMaps:
    """With the noise of levels that are lower by a fifth."""
    lower = [0.8 * sigma for sigma in schedule.sigmas]
    seen, told = problem.input_scales(lower), problem.input_scales(schedule.sigmas)
    scales = [there / here for there, here in zip(seen, told, strict=True)]
    path = partial(shifted_path, lower_sigmas=lower, input_scales=scales)
    return ddpm(problem, x_0, schedule, seed, path=path, **settings)


def recorded(
    problem: PromptedNetwork, x_0: Tensor, schedule: Schedule, seed: int = 0, *, cfg: float = 3.5
) -> NoiseMaps:
    noise = noise_for(x_0, schedule, seed)
    return NoiseMaps(*recorded_path(problem.denoise(cfg), schedule, noise), schedule, cfg=cfg)


def ddim(
    problem: PromptedNetwork,
    x_0: Tensor,
    schedule: Schedule,
    seed: int = 0,
    *,
    cfg: float = 1.0,
    **settings: Any,
) -> NoiseMaps:
    schedule, denoise = replace(schedule, eta=0.0), problem.denoise(cfg)
    scales = problem.input_scales(schedule.sigmas)
    path = ddim_path(denoise, x_0, schedule, scales, **settings)
    return NoiseMaps(*extract_noise_maps(denoise, path, schedule), schedule, cfg=cfg)


def null_text(
    problem: PromptedNetwork,
    x_0: Tensor,
    schedule: Schedule,
    seed: int = 0,
    *,
    find=null_text_inversion,
    cfg: float = 7.5,
) -> NoiseMaps:
    pivot = ddim(problem, x_0, schedule)
    start = problem.empty.to(x_0).repeat(len(x_0), 1, 1)
    found = find(problem.guide(cfg), pivot.xs, pivot.schedule, start)
    xs, zs = found.xs.clone(), torch.zeros_like(pivot.zs)
    zs[-1] = pivot.xs[-1] - found.xs[-1]
    xs[-1] = pivot.xs[-1]
    return pivot.replace(xs=xs, zs=zs, uncond=found.uncond, cfg=cfg)


def negative_prompt(
    problem: PromptedNetwork, x_0: Tensor, schedule: Schedule, seed: int = 0, *, cfg: float = 7.5
) -> NoiseMaps:
    pivot = ddim(problem, x_0, schedule)
    uncond = problem.source.to(x_0).repeat(len(pivot.zs), len(x_0), 1, 1)
    return pivot.replace(uncond=uncond, cfg=cfg)


def _optimized(method: str, **settings: Any) -> list[tuple[str, dict[str, Any]]]:
    menu = {"method": method, **{f"method.{key}": value for key, value in settings.items()}}
    return [("DDIMInvert", {}), ("NullTextOptimize", {"cfg": 3.0, **menu})]


METHODS = [
    Method("EF-DDPM", ddpm, [("EFDDPMInvert", {"cfg": 3.5})]),
    Method("EF-DDPM at eta 0.3", partial(ddpm, eta=0.3), [("EFDDPMInvert", {"eta": 0.3})]),
    Method("EF-DDPM with shifted noise", shifted, [("EFDDPMInvert", {"noise_shift": 100})]),
    Method("native DDPM", partial(ddpm, path=native_path), [("EFDDPMInvert", {"path": "native"})]),
    Method("recorded", recorded, [("RecordDDPM", {"cfg": 1.5})], draws=True),
    Method("DDIM", ddim, [("DDIMInvert", {})]),
    Method(
        "DDIM at the current level",
        partial(ddim, evaluate_at="current"),
        [("DDIMInvert", {"evaluate_at": "current"})],
    ),
    Method(
        "DDIM with a fixed point",
        partial(ddim, fixed_point_steps=2),
        [("DDIMInvert", {"fixed_point_steps": 2})],
    ),
    Method("null text", null_text, _optimized("null_text", inner_steps=2)),
    Method(
        "fast null text",
        partial(null_text, find=fast_null_text_inversion),
        _optimized("fast"),
    ),
    Method("negative prompt", negative_prompt, _optimized("negative_prompt")),
]
