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
