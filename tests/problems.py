"""Denoisers with known properties, schedules for them, and comparisons that several tests need."""

from collections.abc import Sequence

import torch
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.schedule import Denoise, Schedule
from torch import Tensor
from torch.nn.functional import conv2d

STEPS = 12
IMAGE, VIDEO = (2, 4, 6, 5), (2, 4, 3, 6, 5)
FAMILIES = "eps", "v", "flow"


def falling(steps: int = STEPS, flow: bool = False) -> tuple[float, ...]:
    """Levels down to 0, from 1 for a flow model."""
    passed = [i / steps for i in range(steps + 1)]
    return tuple(1 - part if flow else 14.6 * (1 - part) ** 3 for part in passed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def noise_for(x_0: Tensor, schedule: Schedule, seed: int) -> Tensor:
    """Unit normal noise for each level; every image of the batch has its own seed."""
    shape = len(schedule.sigmas), *x_0.shape[1:]
    draws = [normal(*shape, seed=seed + item, dtype=x_0.dtype) for item in range(len(x_0))]
    return torch.stack(draws, 1)


def rows(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.view(-1, *[1] * (x.ndim - 1))


def same(one: NoiseMaps, other: NoiseMaps) -> bool:
    """Whether two bundles agree in every bit and setting."""
    return all(
        a.equal(b) and a.dtype == b.dtype if isinstance(a, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


def answers(denoise: Denoise, maps: NoiseMaps) -> Tensor:
    """What a model says at each step of a bundle (steps, batch, channels, *spatial)."""
    levels = maps.schedule.sigmas[:-1]
    asked = zip(maps.xs[:-1], levels, strict=True)
    return torch.stack([denoise(x, x.new_full(x.shape[:1], sigma)) for x, sigma in asked])


def departure(maps: NoiseMaps, denoised: Tensor) -> float:
    """How far, relative to each latent, a bundle is from the step formula with the model's own
    answers.
    """
    found = []
    for i, step in enumerate(maps.schedule.steps):
        expected = step.mean(maps.xs[i], denoised[i]) + step.scale * maps.zs[i]
        found.append(((expected - maps.xs[i + 1]).norm() / maps.xs[i + 1].norm()).item())
    return max(found)


class GaussianData:
    """Exact denoiser of data ~ N(mean, std^2) at alpha = 1."""

    mean, std = 0.3, 0.7
    flow = False

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        variance = rows(sigma, x) ** 2
        return (self.std**2 * x + variance * self.mean) / (self.std**2 + variance)

    def denoise(self, cfg: float) -> Denoise:
        """Whatever the guidance: this model has no prompt."""
        return self

    def x_exact(self, x_0: Tensor, sigma: float, sigma_0: float) -> Tensor:
        """Where plain DDIM in infinitely many steps leads from x_0 at `sigma_0` to `sigma`."""
        grown = (self.std**2 + sigma**2) / (self.std**2 + sigma_0**2)
        return self.mean + (x_0 - self.mean) * grown**0.5


class PromptedNetwork:
    """A guided network with no property of a trained one: what holds for it holds for any.

    It is smooth in the latent, the level and the prompt, which is two tokens (batch, 2, 3).
    `prediction` says what its output means: "eps", "v", or "flow" for the velocity n - x_0.
    """

    def __init__(self, prediction: str, seed: int = 0):
        self.prediction, self.flow = prediction, prediction == "flow"
        self.weight = normal(4, 4, 3, 3, seed=seed)
        self.tokens = normal(6, 4, seed=seed + 1)
        self.source, self.target = (normal(1, 2, 3, seed=seed + i) for i in (2, 3))
        self.empty = torch.zeros(1, 2, 3, dtype=torch.float64)

    def schedule(self, steps: int = STEPS) -> Schedule:
        return Schedule(falling(steps, self.flow), self.flow, 1.0)

    def input_scales(self, sigmas: Sequence[float]) -> list[float]:
        return [1.0 if self.flow else (1 + sigma**2) ** -0.5 for sigma in sigmas]

    def output(self, x_t: Tensor, level: Tensor | float, prompt: Tensor) -> Tensor:
        """As the network itself gives it; x_t is scaled as the network sees it."""
        video = x_t.ndim == 5
        planes = x_t.movedim(2, 1).flatten(0, 1) if video else x_t  # (batch * frames, channels, *)
        seen = 0.1 * conv2d(planes, self.weight.to(x_t), padding=1)
        if video:
            seen = seen.unflatten(0, (x_t.shape[0], x_t.shape[2])).movedim(1, 2)
        told = prompt.flatten(1).to(x_t) @ self.tokens.to(x_t)
        told = told.reshape(*told.shape, *[1] * (x_t.ndim - 2))
        return torch.tanh(seen + 0.2 * told) * (1 + 1 / (1 + level))

    def denoised(self, x: Tensor, sigma: Tensor, prompt: Tensor) -> Tensor:
        level = rows(sigma, x)
        scale = 1 if self.flow else (1 + level**2).sqrt()
        out = self.output(x / scale, level, prompt)
        if self.prediction == "v":
            return x / scale**2 - out * level / scale
        return x - out * level

    def denoise(self, cfg: float, prompt: Tensor | None = None) -> Denoise:
        """The model under a prompt, the source if none is given; guided where cfg is not 1."""
        prompt = self.source if prompt is None else prompt
        if cfg == 1:
            return lambda x, sigma: self.denoised(x, sigma, prompt)
        guide = self.guide(cfg, prompt)
        return lambda x, sigma: guide(x, sigma)(self.empty)

    def guide(self, cfg: float, prompt: Tensor | None = None):
        """As `null_text_inversion` takes it."""
        prompt = self.source if prompt is None else prompt

        def guided(x: Tensor, sigma: Tensor):
            conditional = self.denoised(x, sigma, prompt)

            def denoised_with(uncond: Tensor) -> Tensor:
                unconditional = self.denoised(x, sigma, uncond)
                return unconditional + cfg * (conditional - unconditional)

            return denoised_with

        return guided

    def replaying(self, maps: NoiseMaps, prompt: Tensor | None = None) -> Denoise:
        """The model that a bundle is replayed with: at its cfg, with its null text if it has one,
        under its own prompt if none is given.
        """
        if maps.uncond is None:
            return self.denoise(maps.cfg, prompt)
        guide, sigmas = self.guide(maps.cfg, prompt), maps.schedule.sigmas

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            level = sigma[0].item()  # rounded, where x is not in double precision
            step = min(range(len(maps.zs)), key=lambda i: abs(sigmas[i] - level))
            return guide(x, sigma)(maps.uncond[step])

        return denoise

    def eps(self, x_t: Tensor, alpha_bar: float) -> Tensor:
        """The same network in the papers' notation, under the source prompt."""
        out = self.output(x_t, ((1 - alpha_bar) / alpha_bar) ** 0.5, self.source)
        if self.prediction == "v":
            return alpha_bar**0.5 * out + (1 - alpha_bar) ** 0.5 * x_t
        return out
