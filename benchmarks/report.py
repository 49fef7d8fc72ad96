"""How benchmarks show and keep what they measured."""

import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent


def print_table(rows: list[dict]) -> None:
    """Rows of one kind, a column per key; numbers with two decimals."""
    cells = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    columns = list(zip(rows[0], *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for line in zip(*columns, strict=True):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def write_results(name: str, found: dict) -> None:
    """`benchmarks/results/<name>.json`."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def write_sheet(name: str, rows: list[Tensor]) -> None:
    """`out/<name>.png`: rows of pictures (count, height, width, 3), four times enlarged."""
    grid = torch.cat([torch.cat(list(row), 1) for row in rows])
    picture = Image.fromarray((grid.clamp(0, 1) * 255).round().byte().numpy())
    path = ROOT / "out" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST).save(path)
