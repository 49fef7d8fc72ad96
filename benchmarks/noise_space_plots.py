"""The plots of `noise_space`: the toy, the maps' statistics, and shifts over their distance."""

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..inversion import neighbour_correlation, variance_per_step
from ..nodes._plots import EXPECTED, MAPS, STYLE, draw_angles
from .report import ROOT

COLOURS = {"edit-friendly": MAPS, "native": EXPECTED}


def draw(toy: dict, zs: dict, moves: list[dict]) -> None:
    """`out/noise_space.png`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(15, 9), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        rows = figure.subplots(2, 3)
        _draw_toy(toy, rows[0])
        _draw_maps(zs, rows[1])
        _draw_shifts(moves, rows[1][2])
        path = ROOT / "out" / "noise_space.png"
        path.parent.mkdir(exist_ok=True)
        canvas.print_png(str(path))


def _draw_toy(toy: dict, axes) -> None:
    axes[0].set(title="2-D toy: one path each", xlabel="first coordinate", ylabel="second")
    axes[1].set(title="2-D toy: mean length of a step", xlabel="step")
    for name, found in toy.items():
        x, y = found["path"].T
        axes[0].plot(x, y, ".-", color=COLOURS[name], lw=1.2, label=name, zorder=2)
        axes[1].plot(found["lengths"], color=COLOURS[name], label=name)
    axes[1].set_ylim(bottom=0)
    for axis in axes[:2]:
        axis.legend()
    draw_angles(axes[2], {name: (found["zs"], COLOURS[name]) for name, found in toy.items()})
    axes[2].set_title("2-D toy: angle of neighbouring maps")


def _draw_maps(zs: dict, axes) -> None:
    axes[0].set(title="Demo model: variance of the maps", xlabel="step", yscale="log")
    axes[1].set(title="Demo model: correlation of neighbours", xlabel="step", ylim=(-1, 1))
    for name, maps in zs.items():
        axes[0].plot(variance_per_step(maps), color=COLOURS[name], label=name)
        axes[1].plot(neighbour_correlation(maps), color=COLOURS[name], label=name)
    for axis in axes[:2]:
        axis.legend()


def _draw_shifts(moves: list[dict], axis) -> None:
    axis.set(title="Demo model: shifted maps", xlabel="pixels", ylabel="PSNR in dB")
    for fill, line in (("resample", "-"), ("reflect", "--"), ("wrap", ":")):
        rows = [row for row in moves if row["edit"] == f"shift, {fill}" and not row["skip"]]
        for name, colour in COLOURS.items():
            values = [row[name] for row in rows]
            label = f"{name}, {fill}"
            axis.plot(
                [row["pixels"] for row in rows], values, f"o{line}", color=colour, label=label
            )
    axis.legend(fontsize=10)
