"""Every benchmark runs, at its smallest."""

import importlib
import json
import sys

import in_host
import pytest
import torch
from imprint_pack.benchmarks import tiny_families

SMALL = {
    "editing": {
        "STEPS": 4,
        "SKIPS": (1,),
        "CFGS": (1.5,),
        "KIND_SKIPS": (1,),
        "KIND_CFGS": (1.5,),
        "SHOWN_AT": (1, 1.5),
    },
    "null_text": {"STEPS": 1, "CFGS": (3.0,)},
    "fast_null_text": {"STEPS": 1, "CFGS": (3.0,), "SWEEP": {"late": [0.5]}},
    "ddim": {"STEPS": (1, 2), "MOST_ELSEWHERE": 1, "CFGS": (1.0, 2.0), "AT_STEPS": 1},
    "noise_space": {
        "STEPS": 3,
        "STATISTICS_STEPS": 8,
        "SKIP": 1,
        "DISTANCES": (1,),
        "SHOWN_DISTANCE": 1,
        "FILLS": (("resample", 0), ("reflect", 0), ("wrap", 0)),
        "STRENGTHS": (0.1,),
        "TINTS": (0.3,),
        "SDEDIT_SKIPS": (1,),
        "SEEDS": 2,
    },
    "attention_control": {
        "STEPS": 1,
        "SKIP": 0,
        "CFGS": (2.0,),
        "TUNING": 1,
        "MAP_STEPS": 1,
    },
    "attention_fractions": {"STEPS": 1, "SKIP": 0},
    "cost": {"REPEATS": 1, "SDXL_STEPS": 2},
    "speed": {
        "STEPS": 2,
        "SKIP": 1,
        "SIDE": 8,
        "REPEATS": 1,
        "BATCHES": (1, 2),
        "GROWTH_STEPS": (2, 4),
        "GROWTH_SIDES": (8,),
        "EDITS": (1, 2),
        "MEMORY_SIDE": 8,
        "MEMORY_STEPS": 2,
    },
    "memory": {"SIDE": 8},
    "few_steps": {"STEPS": (4,), "CFGS": (1.0,)},
    "families": {"FAMILIES": {"SD 3": tiny_families.FAMILIES["SD 3"]}},
    "rounding": {"STEPS": 2, "EVERY": 1, "CFGS": (3.5,), "SKIP": 0, "PATCHES": 1},
    "demo_model": {"STEPS": 2},
    "demo_attention": {"STEPS": 2},
}


def benchmark(name: str):
    return importlib.import_module(f"imprint_pack.benchmarks.{name}")


def test_no_benchmark_is_left_out():
    modules = (in_host.ROOT / "benchmarks").glob("*.py")
    runnable = {path.stem for path in modules if "\ndef main(" in path.read_text()}
    assert runnable == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_it_writes_results_with_the_names_of_the_kept_ones(name, monkeypatch, tmp_path):
    module = benchmark(name)
    for constant, value in SMALL[name].items():
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setitem(benchmark("full_size").SD15, "model_channels", 32)
    monkeypatch.setattr(sys, "argv", [name, "--worlds", "1", "--out", str(tmp_path)])
    module.main()
    place = f"benchmarks/results/{name}.json"
    written, kept = (json.loads((root / place).read_text()) for root in (tmp_path, in_host.ROOT))
    assert written.keys() <= kept.keys()
    assert written.keys() & {"worlds", "steps", "latent"}


def test_psnr_is_that_of_a_known_error_within_a_region():
    measure = benchmark("measure")
    y = torch.full((2, 8, 8, 3), 0.5)
    x, region = y.clone(), torch.zeros(2, 8, 8)
    x[0, :4], region[0, :4], region[1] = 0.6, 1, 1
    assert measure.psnr(x, y, region).tolist() == pytest.approx([20, 120], abs=1e-3)
    assert measure.psnr(x, y)[0] == pytest.approx(23.01, abs=1e-2)


def test_ssim_is_the_papers_formula_in_a_window():
    measure = benchmark("measure")
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 11, 11, 1, generator=generator).double()
    places = torch.tensor([[(i - 5) ** 2 + (j - 5) ** 2 for j in range(11)] for i in range(11)])
    weight = torch.exp(-places.double() / 4.5)
    weight = (weight / weight.sum())[None, ..., None]
    mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
    var_x, var_y = (weight * (x - mean_x) ** 2).sum(), (weight * (y - mean_y) ** 2).sum()
    both = (weight * (x - mean_x) * (y - mean_y)).sum()
    expected = (2 * mean_x * mean_y + 1e-4) * (2 * both + 9e-4)
    expected /= (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    assert measure.ssim(x, y).item() == pytest.approx(expected.item(), abs=1e-6)
    assert measure.ssim(x, x).item() == pytest.approx(1)


def test_an_interval_pairs_worlds():
    measure = benchmark("measure")
    values = torch.arange(20.0) ** 2
    found = measure.interval(measure.mean_difference, values + 1, values)
    assert [*found.values()] == pytest.approx([1, 1, 1])
