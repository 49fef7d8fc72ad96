"""The plots of `noise_space`: the toy, the maps' statistics, and shifts over their distance."""

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..inversion.statistics import neighbour_correlation, variance_per_step
from ..nodes.plots import EXPECTED, INK, MAPS, STYLE, draw_angles
from .noise_space_maps import Maps, Path

COLOURS = {"edit-friendly": MAPS, "native": EXPECTED}
LINES = {"resample": "-", "reflect": "--", "wrap": ":"}


def draw(path, toy: dict[str, Path], maps: dict[str, Maps], shifts: dict[str, dict]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(15, 9), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        rows = figure.subplots(2, 3)
        _draw_toy(toy, rows[0])
        _draw_maps(maps, rows[1])
        _draw_shifts(shifts, rows[1][2])
        canvas.print_png(str(path))


def _draw_toy(toy: dict[str, Path], axes) -> None:
    axes[0].set(title="2-D data: one path each", xlabel="first coordinate", ylabel="second")
    axes[1].set(title="2-D data: mean length of a step", xlabel="step")
    for name, found in toy.items():
        x, y = found.points.T
        axes[0].plot(x, y, ".-", color=COLOURS[name], lw=1.2, label=name, zorder=2)
        axes[1].plot(found.lengths, color=COLOURS[name], label=name)
    axes[1].set_ylim(bottom=0)
    for axis in axes[:2]:
        axis.legend()
    draw_angles(axes[2], {name: (found.maps.zs, COLOURS[name]) for name, found in toy.items()})
    axes[2].set_title("2-D data: angle of neighbouring maps")


def _draw_maps(maps: dict[str, Maps], axes) -> None:
    axes[0].set(title="Demo model: variance of the maps", xlabel="step", yscale="log")
    axes[1].set(title="Demo model: correlation of neighbours", xlabel="step", ylim=(-1, 1))
    for name, found in maps.items():
        axes[0].plot(found.expected, color=INK, ls=":", lw=1.4)
        axes[0].plot(variance_per_step(found.zs), color=COLOURS[name], label=name)
        axes[1].plot(neighbour_correlation(found.zs), color=COLOURS[name], label=name)
    axes[0].plot([], color=INK, ls=":", lw=1.4, label="expected")
    for axis in axes[:2]:
        axis.legend()


def _draw_shifts(shifts: dict[str, dict], axis) -> None:
    axis.set(title="Demo model: shifted maps", xlabel="pixels", ylabel="PSNR in dB")
    for fill, line in LINES.items():
        rows = shifts[f"{fill}, skip 0"]
        distances = [int(name.split()[0]) for name in rows]
        for name, colour in COLOURS.items():
            values = [row[name] for row in rows.values()]
            axis.plot(distances, values, f"o{line}", color=colour, label=f"{name}, {fill}")
    axis.legend(fontsize=10)
