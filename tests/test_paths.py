"""What is special to each path: closed forms, and the papers' own notation."""

from dataclasses import replace
from itertools import pairwise
from math import sqrt

import pytest
import reference
import torch
from imprint_pack.inversion.paths import (
    ddim_path,
    edit_friendly_path,
    native_path,
    recorded_path,
    shifted_path,
)
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.statistics import neighbour_correlation, variance_per_step
from imprint_pack.inversion.walk import extract_noise_maps
from methods import ddim
from problems import FAMILIES, IMAGE, GaussianData, PromptedNetwork, falling, noise_for, normal


def climb(problem, x_0, schedule, **settings):
    """DDIM inversion at cfg 1."""
    scales = [1.0 if schedule.flow else 1 / sqrt(1 + sigma**2) for sigma in schedule.sigmas]
    return ddim_path(problem.denoise(1), x_0, schedule, scales, **settings)


def deterministic(sigmas, flow=False):
    return Schedule(tuple(sigmas), flow, 0.0)


@pytest.mark.parametrize("prediction", FAMILIES)
def test_the_network_sees_a_shifted_path_as_that_of_lower_levels(prediction):
    network, x_0 = PromptedNetwork(prediction), normal(*IMAGE)
    schedule, noise = network.schedule(), noise_for(x_0, network.schedule(), 7)
    lower = [0.8 * sigma for sigma in schedule.sigmas]
    seen, told = (network.input_scales(levels) for levels in (lower, schedule.sigmas))
    scales = [there / here for there, here in zip(seen, told, strict=True)]
    path = shifted_path(x_0, schedule, noise, lower, scales)
    other = edit_friendly_path(x_0, Schedule(tuple(lower), network.flow, 1.0), noise)
    for x, y, here, there in zip(path, other, told, seen, strict=True):
        assert (here * x).allclose(there * y)


@pytest.mark.parametrize("evaluate_at", ["target", "current"])
def test_ddim_path_is_first_order_against_the_closed_form(evaluate_at):
    data, x_0 = GaussianData(), normal(1, 1, 3, 3)
    errors = []
    for steps in (100, 200, 400):
        schedule = deterministic(4.0 + (0.1 - 4.0) * i / steps for i in range(steps + 1))
        path = climb(data, x_0, schedule, evaluate_at=evaluate_at)
        errors.append((path[0] - data.x_exact(x_0, 4.0, 0.1)).abs().max().item())
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_ddim_path_equals_the_papers_notation(prediction):
    network, x_0 = PromptedNetwork(prediction), normal(*IMAGE)
    alpha_bars = [1 / (1 + sigma**2) for sigma in falling()]
    paper = reference.ddim_invert(network.eps, x_0, alpha_bars[::-1])[::-1]
    path = climb(network, x_0, deterministic(falling()))
    for x, x_paper, alpha_bar in zip(path, paper, alpha_bars, strict=True):
        assert (x * sqrt(alpha_bar) - x_paper).abs().max() < 1e-10


@pytest.mark.parametrize("evaluate_at", ["target", "current"])
@pytest.mark.parametrize("prediction", FAMILIES)
def test_fixed_point_is_the_inverse_of_the_step(prediction, evaluate_at):
    network = PromptedNetwork(prediction)
    network.weight *= 0.2  # a slope below 1, so that repetition contracts
    sigmas = falling(40, flow=True) if network.flow else [4 * 0.9**i for i in range(60)] + [0]
    schedule = Schedule(tuple(sigmas), network.flow, 0.0)

    def distance(fixed_point_steps):
        settings = {"evaluate_at": evaluate_at, "fixed_point_steps": fixed_point_steps}
        return ddim(network, normal(*IMAGE), schedule, **settings).zs.abs().max()

    assert distance(40) < 1e-9 < distance(0)


def test_fixed_point_converges_at_the_huge_step_of_zero_terminal_snr():
    sigmas = 4518.0, 40.0, 9.0, 3.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.0
    path = climb(GaussianData(), normal(*IMAGE), deterministic(sigmas), fixed_point_steps=60)
    _, zs = extract_noise_maps(GaussianData(), path, deterministic(sigmas))
    assert zs.abs().max() < 1e-9


def test_ddim_asks_a_flow_network_at_sigma_1_too():
    x_0, network = normal(*IMAGE), PromptedNetwork("flow")
    schedule = replace(network.schedule(), eta=0.0)
    scales = network.input_scales(schedule.sigmas)

    def other_at_1(x, sigma):
        return network.denoise(1)(x, sigma) + (sigma[0] == 1)

    path = climb(network, x_0, schedule)
    other = ddim_path(other_at_1, x_0, schedule, scales)
    # The step from 1 - 1/12 up to 1 carries a twelfth of what the network says at 1.
    assert (path[0] - other[0] - 1 / 12).abs().max() < 1e-9
    assert path[1:].equal(other[1:])


def test_ddim_reports_every_step_upwards():
    seen, network = [], PromptedNetwork("v")
    schedule = replace(network.schedule(), eta=0.0)
    path = climb(network, normal(*IMAGE), schedule, on_step=lambda i, x, d: seen.append((i, x)))
    assert [i for i, _ in seen] == list(range(1, len(schedule.sigmas)))
    assert all(x.equal(path[-1 - i]) for i, x in seen)


@pytest.mark.parametrize("flow", [False, True])
def test_native_path_keeps_the_marginals_of_every_level_below_pure_noise(flow):
    x_0 = torch.full((1, 4, 100, 100), 0.5, dtype=torch.float64)
    schedule = Schedule(falling(flow=flow), flow, 1.0)
    path = native_path(x_0, schedule, noise_for(x_0, schedule, 4))
    noise, top = schedule.sigmas[0] * noise_for(x_0, schedule, 4)[0], schedule.sigmas[0]
    assert path[0].equal(noise)
    for x, sigma, alpha in zip(path, schedule.sigmas, schedule.alphas, strict=True):
        # Started without its picture, the path still lacks the part that the first latent lacked.
        missing = 0.5 * schedule.alphas[0] * (sigma / top) ** 2 / max(alpha, 1e-9)
        assert x.mean() == pytest.approx(0.5 * alpha - missing, abs=0.03 * (sigma + 1e-9))
        assert x.std() == pytest.approx(sigma, rel=0.03, abs=1e-9)


def test_recorded_maps_are_white_and_come_back_from_extraction():
    data, schedule = GaussianData(), Schedule(falling(), False, 1.0)
    xs, zs = recorded_path(data, schedule, normal(13, 1, 4, 80, 80))
    _, extracted = extract_noise_maps(data, xs, schedule)
    assert (extracted - zs).abs().max() < 1e-9
    assert variance_per_step(zs[:-1]).sub(1).abs().max() < 0.05
    assert neighbour_correlation(zs[:-1]).abs().max() < 0.05
    assert not zs[-1].any()


def test_recording_without_noise_is_ddim():
    data, noise = GaussianData(), normal(401, 1, 1, 3, 3)
    schedule = deterministic(4.0 + (0.1 - 4.0) * i / 400 for i in range(401))
    xs, zs = recorded_path(data, schedule, noise)
    assert not zs.any()
    assert (xs[0] - 4.0 * noise[0]).abs().max() == 0
    assert (data.x_exact(xs[-1], 4.0, 0.1) - xs[0]).abs().max() < 0.05 * xs[0].abs().max()
