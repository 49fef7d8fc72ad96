"""Anchoring: rounding does not add up in a replay, and no edit is taken for rounding."""

from functools import partial

import pytest
import torch
from imprint_pack.inversion.anchoring import FLOAT32, rounding_distances
from imprint_pack.inversion.walk import replay
from methods import METHODS, ddim, ddpm
from problems import FAMILIES, IMAGE, PromptedNetwork, normal, rows

BFLOAT16 = 2.0**-8


@pytest.fixture(params=FAMILIES)
def problem(request) -> PromptedNetwork:
    return PromptedNetwork(request.param)


@pytest.fixture(params=[1.0, 3.5, 15.0])
def cfg(request) -> float:
    return request.param


def invert(problem, cfg, method=ddpm, **settings):
    x_0 = normal(*IMAGE, dtype=torch.float32)
    return method(problem, x_0, problem.schedule(), cfg=cfg, **settings)


def output_scales(problem, sigmas) -> list[float]:
    """How much of a change of the network's output reaches `denoised`."""
    scales = problem.input_scales(sigmas) if problem.prediction == "v" else [1.0] * len(sigmas)
    return [sigma * scale for sigma, scale in zip(sigmas, scales, strict=True)]


def distances(problem, maps, unit=BFLOAT16) -> list[float]:
    scales = output_scales(problem, maps.schedule.sigmas[:-1])
    return rounding_distances(maps.schedule, scales, unit, maps.cfg)


def rounded(problem, maps, prompt=None, cfg=None):
    """The model with what it puts out rounded to bfloat16, separately for each prompt."""

    def network(x, sigma, given):
        denoised = problem.denoised(x, sigma, given)
        scale = rows(torch.tensor(output_scales(problem, sigma.tolist())).to(sigma), x)
        keep = x if problem.prediction != "v" else x * 0
        return keep + ((denoised - keep) / scale).bfloat16().to(x) * scale

    cfg = maps.cfg if cfg is None else cfg
    prompt = problem.source if prompt is None else prompt

    def denoise(x, sigma):
        empty = network(x, sigma, problem.empty)
        return empty + cfg * (network(x, sigma, prompt) - empty)

    return denoise


def test_a_rounded_network_returns_the_picture_to_the_last_bit(problem, cfg):
    maps = invert(problem, cfg)
    denoise = rounded(problem, maps)
    assert replay(denoise, maps, distances=distances(problem, maps)).equal(maps.xs[-1])
    assert not replay(denoise, maps).equal(maps.xs[-1])


def test_an_edit_keeps_every_bit(problem, cfg):
    maps = invert(problem, cfg)
    denoise = rounded(problem, maps, problem.target)
    edited = replay(denoise, maps)
    assert replay(denoise, maps, distances=distances(problem, maps)).equal(edited)
    assert not edited.equal(maps.xs[-1])


def test_a_slightly_higher_cfg_is_an_edit_in_float32(problem):
    maps = invert(problem, 3.5)
    denoise = problem.denoise(3.6)
    edited = replay(denoise, maps)
    assert replay(denoise, maps, distances=distances(problem, maps, FLOAT32)).equal(edited)


def test_images_of_a_batch_are_anchored_each_for_itself(problem):
    maps = invert(problem, 3.5)
    own, other = rounded(problem, maps), rounded(problem, maps, problem.target)

    def denoise(x, sigma):
        return torch.cat([own(x[:1], sigma[:1]), other(x[1:], sigma[1:])])

    first, second = replay(denoise, maps, distances=distances(problem, maps))
    assert first.equal(maps.xs[-1][0])
    assert second.equal(replay(denoise, maps)[1])


@pytest.mark.parametrize("residual", [0.0, 0.5, 0.999])
def test_a_scaled_residual_is_never_undone(problem, residual):
    for maps in (invert(problem, 3.5), invert(problem, 1.0, ddim)):
        denoise = problem.denoise(maps.cfg)
        plain = replay(denoise, maps, residual=residual)
        near = [1e3] * len(maps.zs)
        found = replay(denoise, maps, residual=residual, distances=near)
        assert not found.equal(maps.xs[-1])
        assert (found - plain).abs().max() < 1e-5


def test_a_masked_step_is_compared_after_its_mask(problem):
    maps = invert(problem, 3.5)
    mask = torch.zeros_like(maps.xs[0])
    mask[..., 2:4] = 1
    run = partial(replay, rounded(problem, maps, problem.target), maps, mask=mask)
    assert run(distances=distances(problem, maps)).equal(run())
    assert run(distances=[1e3] * len(maps.zs)).equal(maps.xs[-1])
    same = partial(replay, rounded(problem, maps), maps, mask=mask)
    assert same(distances=distances(problem, maps)).equal(maps.xs[-1])


@pytest.mark.parametrize("cells", [1, 4])
def test_an_edit_of_few_cells_keeps_every_bit(problem, cfg, cells):
    maps = invert(problem, cfg)
    mask = torch.zeros_like(maps.xs[0])
    mask[..., 0, :cells] = 1
    run = partial(replay, rounded(problem, maps, problem.target), maps, mask=mask)
    assert run(distances=distances(problem, maps)).equal(run())


def test_an_edit_that_comes_near_again_stays_an_edit(problem):
    maps = invert(problem, 3.5)
    edited = replay(rounded(problem, maps, problem.target), maps)
    only_later = [0.0, *[1e3] * (len(maps.zs) - 1)]
    found = replay(rounded(problem, maps, problem.target), maps, distances=only_later)
    assert found.equal(edited)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_is_anchored(problem, method):
    maps = method.invert(problem, normal(*IMAGE, dtype=torch.float32), problem.schedule(), 0)
    noisy = problem.replaying(maps)

    def denoise(x, sigma):
        return noisy(x, sigma) * (1 + FLOAT32)

    assert replay(denoise, maps, distances=distances(problem, maps, FLOAT32)).equal(maps.xs[-1])
