"""The numbers of the papers' own code; golden/README.md says how they were made."""

from pathlib import Path

import pytest
import torch
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.null_text import null_text_inversion
from imprint_pack.inversion.paths import edit_friendly_path
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.walk import extract_noise_maps, replay
from methods import ddim
from problems import PromptedNetwork
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import conv2d

PAPERS = load_file(Path(__file__).parent / "golden" / "papers.safetensors")
# Relative to the norm of the authors' numbers, which are float64: some ten roundings.
TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-5}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
EDITS = [("7.5", 0), ("7.5", 7), ("15", 7)]


class PapersNetwork(PromptedNetwork):
    """The eps network that the authors' code was run on."""

    def __init__(self):
        super().__init__("eps")
        self.weight, self.tokens = PAPERS["weight"], PAPERS["tokens"]
        self.source, self.target = PAPERS["prompt_source"], PAPERS["prompt_target"]

    def output(self, x_t: Tensor, level: Tensor, prompt: Tensor) -> Tensor:
        told = prompt.to(x_t).flatten(1) @ self.tokens.to(x_t)
        seen = 0.1 * conv2d(x_t, self.weight.to(x_t), padding=1)
        return torch.tanh(seen + 0.02 * told[..., None, None])


def schedule_of(name: str, eta: float) -> Schedule:
    alpha_bars = PAPERS[f"{name}_alpha_bars"]
    return Schedule(tuple(((1 - alpha_bars) / alpha_bars).sqrt().tolist()), False, eta)


def in_papers_units(name: str, xs: Tensor) -> Tensor:
    """Latents of all levels as x_t."""
    return xs * PAPERS[f"{name}_alpha_bars"].sqrt().view(-1, *[1] * (xs.ndim - 1)).to(xs)


def check(found: Tensor, name: str, tolerance: float) -> None:
    expected = PAPERS[name].to(torch.float64)
    distance = (found.to(torch.float64).reshape(expected.shape) - expected).norm()
    assert distance <= tolerance * expected.norm(), f"{name}: {distance / expected.norm():.2g}"


def edit_friendly_maps(dtype: torch.dtype) -> NoiseMaps:
    schedule, x_0 = schedule_of("ef", 1.0), PAPERS["ef_x_0"].to(dtype)
    final = PAPERS["ef_alpha_bars"][-1].item()
    # Their lowest latent is x_0 itself, in units of x_t.
    last = x_0 * ((final**-0.5 - 1) / schedule.sigmas[-1])
    noise = torch.cat([PAPERS["ef_noise"].to(dtype), last[None]])
    path = edit_friendly_path(x_0, schedule, noise)
    maps = extract_noise_maps(PapersNetwork().denoise(3.5), path, schedule)
    return NoiseMaps(*maps, schedule, cfg=3.5)


@pytest.fixture(scope="module", params=TOLERANCES, ids=str)
def maps(request) -> NoiseMaps:
    return edit_friendly_maps(request.param)


@pytest.fixture(scope="module")
def tolerance(maps) -> float:
    return TOLERANCES[maps.xs.dtype]


@pytest.fixture(scope="module")
def authors_maps(maps) -> NoiseMaps:
    """As the authors replay them, with the last map left out."""
    return maps.replace(zs=torch.cat([maps.zs[:-1], torch.zeros_like(maps.zs[-1:])]))


def test_edit_friendly_path_is_the_authors(maps, tolerance):
    check(in_papers_units("ef", maps.xs), "ef_x_t", tolerance)


def test_noise_maps_are_the_authors(authors_maps, tolerance):
    check(authors_maps.zs, "ef_zs", tolerance)


def test_last_noise_map_is_the_authors_from_before_they_leave_it_out(maps, tolerance):
    # A small difference of large latents: its rounding errors are larger than those of other maps.
    check(maps.zs[-1], "ef_last_z", 10 * tolerance)


def test_reconstruction_is_the_authors(authors_maps, tolerance):
    result = replay(PapersNetwork().denoise(3.5), authors_maps)
    result *= PAPERS["ef_alpha_bars"][-1].sqrt().to(result)
    check(result, "ef_reconstruction", tolerance)


@pytest.mark.parametrize(("cfg", "skip"), EDITS)
def test_edits_are_the_authors(authors_maps, tolerance, cfg, skip):
    network = PapersNetwork()
    result = replay(network.denoise(float(cfg), network.target), authors_maps, skip)
    result *= PAPERS["ef_alpha_bars"][-1].sqrt().to(result)
    check(result, f"ef_edit_{cfg}_skip_{skip}", tolerance)


@PRECISIONS
@pytest.mark.parametrize("case", ["long", "early"])
def test_ddim_path_is_the_authors(case, dtype):
    schedule = schedule_of("null", 0.0)
    final = PAPERS["null_alpha_bars"][-1].sqrt().to(dtype)
    x_0 = PAPERS[f"null_{case}_x_0"].to(dtype) / final
    found = ddim(PapersNetwork(), x_0, schedule)
    check(in_papers_units("null", found.xs), f"null_{case}_pivot", TOLERANCES[dtype])


@PRECISIONS
@pytest.mark.parametrize(("case", "stop"), [("long", 1e-5), ("early", 0.2)])
def test_null_text_is_the_authors(case, stop, dtype):
    """At a stopping loss of 0.2 the first steps make one update: the loss from before it counts."""
    pivot = PAPERS[f"null_{case}_pivot"].to(dtype)
    pivot = pivot / PAPERS["null_alpha_bars"].sqrt().view(-1, 1, 1, 1, 1).to(dtype)
    start = torch.zeros_like(PAPERS["prompt_source"], dtype=dtype)
    guide, schedule = PapersNetwork().guide(7.5), schedule_of("null", 0.0)
    found = null_text_inversion(guide, pivot, schedule, start, 10, 1e-2, stop)
    assert found.updates[:, 0].equal(PAPERS[f"null_{case}_updates"])
    check(found.uncond, f"null_{case}_uncond", TOLERANCES[dtype])
    end = in_papers_units("null", found.xs)[-1]
    check(end, f"null_{case}_end", TOLERANCES[dtype])
