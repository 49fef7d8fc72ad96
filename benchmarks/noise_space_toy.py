"""The 2-D example of `noise_space`: data N((10, 10), I) with its exact denoiser."""

import torch
from torch import Tensor

from ..inversion import edit_friendly_path, extract, native_path


def toy(sigmas: list[float]) -> dict:
    """Paths in the papers' scale, where noise has variance 1, lengths of their steps, and maps."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.view(-1, 1, 1, 1) ** 2
        return (x + 10 * level) / (1 + level)

    generator = torch.Generator().manual_seed(1)
    x_0 = 10 + torch.randn(1, 2, 4000, 1, generator=generator)
    noise = torch.randn(len(sigmas), *x_0.shape, generator=generator)
    paths = {
        "native": native_path(x_0, sigmas, 1.0, False, noise),
        "edit-friendly": edit_friendly_path(x_0, sigmas, False, noise),
    }
    scale = (1 + torch.tensor(sigmas) ** 2).sqrt().view(-1, 1, 1, 1, 1)
    found = {}
    for name, path in paths.items():
        xs, zs = extract(denoise, path, sigmas, 1.0, False, len(sigmas))
        x = xs / scale
        lengths = (x[1:] - x[:-1]).norm(dim=2).mean((1, 2, 3))
        found[name] = {"path": x[:, 0, :, 0, 0], "lengths": lengths, "zs": zs[:-1]}
    return found
