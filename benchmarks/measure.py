"""What the benchmarks measure with, and how they show and keep what they found.

Pictures are (batch, height, width, channels) in 0..1. A benchmark prints its tables and writes
`benchmarks/results/<name>.json` and `media/<name>.png` into the folder `--out`, this checkout.
"""

import argparse
import ctypes
import gc
import json
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from scipy import stats
from torch import Tensor
from torch.nn.functional import conv2d

ROOT = Path(__file__).resolve().parent.parent


def options(description: str | None, worlds: int, seed: int = 0) -> argparse.ArgumentParser:
    """The options of every benchmark, with its usual number of worlds."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=worlds)
    parser.add_argument("--seed", type=int, default=seed, help="draws the worlds")
    parser.add_argument("--out", type=Path, default=ROOT, help="where results and pictures go")
    return parser


def psnr(images: Tensor, reference: Tensor, region: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB (batch,), 120 at most; `region` (batch, height, width)
    restricts it to where it is 1.
    """
    square = (images.clamp(0, 1) - reference).square().mean(-1)
    weight = torch.ones_like(square) if region is None else region.to(square)
    error = (square * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return -10 * error.clamp(min=1e-12).log10()


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (batch,), the mean over channels and places (Wang, Bovik, Sheikh and
    Simoncelli 2004: windows of 11 x 11, Gaussian with standard deviation 1.5, K = 0.01 and 0.03).
    """
    bell = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = torch.outer(bell, bell)[None, None].double() / bell.sum() ** 2

    def local_mean(values: Tensor) -> Tensor:
        return conv2d(values.flatten(0, 1)[:, None], window).unflatten(0, values.shape[:2])

    x, y = (pictures.double().clamp(0, 1).movedim(-1, 1) for pictures in (images, reference))
    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x, variance_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return (luminance * structure).flatten(1).mean(1)


def means(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: of_worlds.double().mean().item() for name, of_worlds in values.items()}


def interval(statistic: Callable[..., np.ndarray], *values: Tensor) -> dict[str, float]:
    """`statistic(*values, axis)`, and the ends of its 95 % interval by a bootstrap (2000 draws)
    over worlds; all values are (worlds,) and drawn alike.
    """
    data = [np.asarray(of_worlds, dtype=np.float64) for of_worlds in values]
    found = {"value": float(statistic(*data, axis=-1))}
    if len(data[0]) < 2:
        return found | dict.fromkeys(("low", "high"), found["value"])
    drawn = stats.bootstrap(
        data, statistic, paired=True, vectorized=True, n_resamples=2000, method="percentile",
        random_state=0,  # pyright: ignore[reportCallIssue]  # `rng` since scipy 1.15
    )  # fmt: skip
    low, high = drawn.confidence_interval
    return found | {"low": float(low), "high": float(high)}


def mean_difference(values: np.ndarray, others: np.ndarray, axis: int) -> np.ndarray:
    """A statistic for `interval`."""
    return (values - others).mean(axis)


def memory(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes in memory (resident) before `run`, and at its peak."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # gives back what earlier runs left
    process, ended = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def watch() -> None:
        while not ended.wait(0.0005):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        ended.set()
        watcher.join()
    return seen[0], max(seen)


def machine() -> str:
    """What absolute times hold for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, threads: {torch.get_num_threads()}, torch {torch.__version__}"


def print_table(rows: Mapping[str, Mapping[str, object]]) -> None:
    """Rows by name, a column per key; three digits of numbers, intervals in brackets."""

    def cell(value: object) -> str:
        if isinstance(value, dict):
            return "{value:+.2f} ({low:+.2f} to {high:+.2f})".format(**value)
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [["", *columns]]
    for name, row in rows.items():
        lines.append([name, *(cell(row.get(key, "")) for key in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print()


def write_results(out: Path, name: str, found: Mapping[str, object]) -> None:
    path = out / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def picture_path(out: Path, name: str) -> Path:
    path = out / "media" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_sheet(out: Path, name: str, rows: Sequence[Tensor]) -> None:
    """Rows of pictures, four times enlarged."""
    grid = torch.cat([torch.cat(list(row), 1) for row in rows])
    picture = Image.fromarray((grid.clamp(0, 1) * 255).round().byte().numpy())
    enlarged = picture.resize((4 * picture.width, 4 * picture.height), Image.Resampling.NEAREST)
    enlarged.save(picture_path(out, name), optimize=True)
