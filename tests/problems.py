"""Denoisers with known properties, as `denoise(x, sigma (batch,))`."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

STEPS = 12
FALLING = [14.6 * (1 - i / STEPS) ** 3 for i in range(STEPS + 1)]  # ends at 0
FLOW = [1 - i / STEPS for i in range(STEPS + 1)]  # from 1 to 0


def rows(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.view(-1, *[1] * (x.ndim - 1))


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class GaussianData:
    """Exact denoiser of data ~ N(mean, std^2) at alpha = 1."""

    mean, std = 0.3, 0.7

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        variance = rows(sigma, x) ** 2
        return (self.std**2 * x + variance * self.mean) / (self.std**2 + variance)


class RandomNetwork:
    """A smooth map with no property of a trained denoiser: what holds for it holds for any.

    `prediction` says what its output means: "eps", "v", or "flow" for the velocity n - x_0.
    """

    def __init__(self, prediction: str, channels: int = 4, seed: int = 0):
        self.prediction = prediction
        self.weight = normal(channels, channels, 3, 3, seed=seed)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = rows(sigma, x)
        scale = 1 if self.prediction == "flow" else (1 + level**2).sqrt()
        out = self.network(x / scale) / (1 + level)
        if self.prediction == "v":
            return x / scale**2 - out * level / scale
        return x - out * level

    def network(self, x: Tensor) -> Tensor:
        planes = (
            x if x.ndim == 4 else x.movedim(2, 1).flatten(0, 1)
        )  # (batch * frames, channels, h, w)
        out = torch.tanh(conv2d(planes, self.weight.to(x), padding=1))
        return out if x.ndim == 4 else out.unflatten(0, (x.shape[0], x.shape[2])).movedim(1, 2)

    def eps(self, x_t: Tensor, alpha_bar: float) -> Tensor:
        """The same network in the papers' notation."""
        out = self.network(x_t) / (1 + ((1 - alpha_bar) / alpha_bar) ** 0.5)
        if self.prediction == "v":
            return alpha_bar**0.5 * out + (1 - alpha_bar) ** 0.5 * x_t
        return out


class PromptedNetwork:
    """A guided eps network of two tokens, each (batch, 2, 3): smooth in the latent and in them."""

    def __init__(self, cfg: float, seed: int = 0):
        self.cfg = cfg
        self.weight = normal(4, 4, 3, 3, seed=seed)
        self.tokens = normal(6, 4, seed=seed + 1)
        self.conditional = normal(1, 2, 3, seed=seed + 2)

    def eps(self, x_t: Tensor, alpha_bar: float, prompt: Tensor) -> Tensor:
        prompted = (prompt.flatten(1) @ self.tokens)[..., None, None]
        return torch.tanh(0.1 * conv2d(x_t, self.weight, padding=1) + 0.2 * prompted)

    def guide(self, x: Tensor, sigma: Tensor):
        """As `inversion.optimize` takes it."""
        level = float(sigma[0])
        alpha_bar = 1 / (1 + level**2)
        conditional = self.eps(x * alpha_bar**0.5, alpha_bar, self.conditional)

        def denoised_with(uncond: Tensor) -> Tensor:
            eps = self.eps(x * alpha_bar**0.5, alpha_bar, uncond)
            return x - level * (eps + self.cfg * (conditional - eps))

        return denoised_with
