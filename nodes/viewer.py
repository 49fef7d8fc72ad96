"""What `js/noise_map_viewer.js` shows of a bundle: pictures of its steps on sheets, and numbers."""

import math
import uuid

import torch
from comfy_api.latest import io, ui
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..inversion.noise_maps import NoiseMaps
from ..inversion.statistics import (
    edit_friendly_variance,
    neighbour_correlation,
    recover_denoised,
    variance_per_step,
)
from ._host import latents

MOST_STEPS, _LARGEST_TILE = 128, 128
ROWS = "x", "denoised", "z"


def spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly spread, first and last among them."""
    return torch.linspace(0, count - 1, min(most, count)).round().int().tolist()


def previews(maps: NoiseMaps) -> dict[str, Tensor]:
    """Preview colours (steps, height, width, 3) of a bundle with one image, for each of `ROWS`; of
    more than `MOST_STEPS` steps so many are taken.

    x is divided by its level and z by its root mean square, so that every step shows.
    """
    levels = [math.hypot(step.alpha, step.sigma) for step in maps.schedule.steps]
    rms = variance_per_step(maps.zs).sqrt().clamp(min=1e-6)
    values = (
        scaled(maps.xs[:-1], torch.tensor(levels)),
        recover_denoised(maps),
        scaled(maps.zs, rms),
    )
    shown = spread(len(maps.zs), MOST_STEPS)
    rows = zip(ROWS, values, strict=True)
    return {name: latents.preview(maps, row[shown, 0]) for name, row in rows}


def scaled(values: Tensor, scales: Tensor) -> Tensor:
    """Values of each step (steps, ...) divided by its scale (steps,)."""
    return values / scales.view(-1, *[1] * (values.ndim - 1))


def viewer_data(maps: NoiseMaps, pictures: dict[str, Tensor]) -> dict:
    """Numbers, and files in the temp folder, of a bundle with one image; `pictures` are its
    `previews`. All files have random names: a browser keeps what it once got under a name.
    """
    shown = spread(len(maps.zs), MOST_STEPS)
    tiles = {name: _fitted(row) for name, row in pictures.items()}
    height, width = tiles["x"].shape[1:3]
    columns = math.ceil(math.sqrt(len(shown)))
    files = save_temp(torch.stack([_sheet(row, columns) for row in tiles.values()]))
    return {
        "steps": shown,
        "sigmas": [maps.schedule.sigmas[i] for i in shown],
        "columns": columns,
        "tile": [width, height],
        "sheets": dict(zip(tiles, files, strict=True)),
        "curves": {name: _numbers(row, shown) for name, row in _curves(maps).items()},
    }


def save_temp(pictures: Tensor) -> list:
    """Names of pictures (count, height, width, 3), as the browser asks for them."""
    name = f"imprint_{uuid.uuid4().hex}"
    return ui.ImageSaveHelper.save_images(pictures, name, io.FolderType.temp, None, 1)


def _curves(maps: NoiseMaps) -> dict[str, Tensor]:
    """Curves over all steps, NaN where a step has no value: see `inversion.statistics`.

    Where less than two steps add noise, the maps are residuals: only their variance counts.
    """
    noisy = maps.schedule.noisy_steps
    variance = variance_per_step(maps.zs)
    if len(noisy) < 2:
        return {"variance": variance}
    found = {name: torch.full_like(variance, torch.nan) for name in ("variance", "correlation")}
    found["variance"][noisy] = variance[noisy]
    found["correlation"][noisy[:-1]] = neighbour_correlation(maps.zs[noisy])
    if maps.schedule.eta == 1:
        found["expected"] = torch.full_like(variance, torch.nan)
        found["expected"][noisy] = edit_friendly_variance(maps.schedule)[noisy].to(variance)
    return found


def _numbers(curve: Tensor, shown: list[int]) -> list[float | None]:
    """Values that JSON can hold."""
    return [value if math.isfinite(value) else None for value in curve[shown].tolist()]


def _fitted(row: Tensor) -> Tensor:
    """Pictures (steps, height, width, 3), made smaller if they are larger than a tile."""
    scale = _LARGEST_TILE / max(row.shape[1:3])
    if scale >= 1:
        return row
    size = [max(1, round(side * scale)) for side in row.shape[1:3]]
    return interpolate(row.movedim(-1, 1), size, mode="area").movedim(1, -1)


def _sheet(row: Tensor, columns: int) -> Tensor:
    """Pictures (steps, height, width, 3) side by side in lines of `columns`, as one picture."""
    steps, height, width, _ = row.shape
    lines = math.ceil(steps / columns)
    filled = pad(row, (0, 0) * 3 + (0, lines * columns - steps))
    grid = filled.view(lines, columns, height, width, 3).transpose(1, 2)
    return grid.reshape(lines * height, columns * width, 3)
