"""Pictures of a bundle: statistics of its maps, and strips of its latents over the steps."""

import numpy as np
import torch
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.statistics import (
    edit_friendly_variance,
    neighbour_angles,
    neighbour_correlation,
    variance_per_step,
    white_angle_density,
)
from .viewer import MOST_STEPS, spread

INK, MAPS, WHITE, EXPECTED = "#333333", "#1f6fb4", "#9a9a9a", "#d9772b"
STYLE = {
    "font.size": 13,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "xtick.color": INK,
    "ytick.color": INK,
}
_COLUMNS, _BINS, _DPI = 8, 36, 100


def draw_noise_maps(maps: NoiseMaps, strips: dict[str, Tensor]) -> Tensor:
    """One picture (height, width, 3) of a bundle with one image.

    `strips` holds the bundle's `previews`; `_COLUMNS` of each are shown.
    """
    try:  # here, so that starting ComfyUI does not import it
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError(
            "Inspect Noise Maps draws with matplotlib, which cannot be imported: install it into "
            "ComfyUI's Python (pip install matplotlib)."
        ) from error

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 4.6 + 1.6 * len(strips)), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        halves = figure.subfigures(2, 1, height_ratios=[4.6, 1.6 * len(strips)], squeeze=False)
        _draw_statistics(maps, halves[0, 0].subplots(1, 3))
        _draw_strips(maps, strips, halves[1, 0])
        canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3] / np.float32(255))


def _draw_statistics(maps: NoiseMaps, axes) -> None:
    noisy = maps.schedule.noisy_steps
    if len(noisy) < 2:
        axes[0].set(title="Variance of the residuals", xlabel="step", yscale="log")
        axes[0].plot(variance_per_step(maps.zs).clamp(min=1e-12), "o-", color=MAPS)
        for axis in axes[1:]:
            axis.set_axis_off()
        axes[1].text(0, 0.5, "These steps add no noise: their maps are\nresiduals (DDIM, eta 0).")
        return
    zs = maps.zs[noisy]
    axes[0].set(title="Variance of the maps", xlabel="step", yscale="log")
    if maps.schedule.eta == 1:
        expected = edit_friendly_variance(maps.schedule)[noisy]
        axes[0].plot(noisy, expected, color=EXPECTED, ls=":", label="edit-friendly, expected")
    axes[0].plot(noisy, variance_per_step(zs), color=MAPS, label="these maps")
    axes[0].axhline(1, color=WHITE, ls="--", label="white (native)")
    axes[1].set(title="Correlation of neighbours", xlabel="step", ylim=(-1, 1))
    axes[1].plot(noisy[:-1], neighbour_correlation(zs), color=MAPS, label="these maps")
    axes[1].axhline(0, color=WHITE, ls="--", label="white (native)")
    for axis in axes[:2]:
        axis.legend()
    draw_angles(axes[2], {"these maps": (zs, MAPS)})


def draw_angles(axis, maps_by_name: dict[str, tuple[Tensor, str]]) -> None:
    """Draws histograms of the angle between neighbouring maps, given by name with their colours,
    and the curve of white noise.
    """
    axis.set(title="Angle of neighbours", xlabel="degrees", xlim=(0, 180), xticks=range(0, 181, 45))
    for name, (zs, colour) in maps_by_name.items():
        angles = neighbour_angles(zs).flatten().numpy()
        density, edges = np.histogram(angles, _BINS, (0, 180), density=True)
        axis.stairs(density, edges, fill=True, color=colour, alpha=0.35)
        axis.stairs(density, edges, color=colour, lw=2.2, label=name)
    channels = next(zs.shape[2] for zs, _ in maps_by_name.values())
    if channels > 1:
        degrees = torch.linspace(0, 180, 181, dtype=torch.float64)
        white = white_angle_density(degrees, channels)
        axis.plot(degrees, white, color=WHITE, ls="--", label="white (native)")
    axis.set(yticks=[], ylim=(0, 1.3 * axis.get_ylim()[1]))  # room for the legend
    axis.legend(loc="upper left")


def _draw_strips(maps: NoiseMaps, strips: dict[str, Tensor], figure) -> None:
    steps = spread(len(maps.zs), MOST_STEPS)
    picked = spread(len(steps), _COLUMNS)
    axes = figure.subplots(len(strips), len(picked), squeeze=False)
    for row, (name, pictures) in zip(axes, strips.items(), strict=True):
        for axis, picture in zip(row, pictures[picked], strict=True):
            axis.imshow(picture.numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(name)
    for axis, i in zip(axes[0], [steps[i] for i in picked], strict=True):
        axis.set_title(rf"step {i}, $\sigma$ {maps.schedule.sigmas[i]:.2g}", fontsize=12)
