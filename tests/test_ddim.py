from itertools import pairwise
from math import sqrt

import pytest
import reference
import torch
from imprint_pack.inversion import NoiseMaps, ddim_path, extract, replay
from problems import FALLING, FLOW, GaussianData, RandomNetwork, normal

IMAGE, VIDEO = (2, 4, 6, 5), (1, 4, 3, 6, 5)
FAMILIES = ("eps", "v", "flow")


def scales(sigmas, flow=False):
    return [1.0 if flow else 1 / sqrt(1 + sigma**2) for sigma in sigmas]


def climb(denoise, x_0, sigmas, flow=False, **settings):
    return ddim_path(denoise, x_0, sigmas, flow, scales(sigmas, flow), **settings)


def bundle(denoise, x_0, sigmas, flow=False, **settings) -> NoiseMaps:
    xs, zs = extract(denoise, climb(denoise, x_0, sigmas, flow, **settings), sigmas, 0.0, flow)
    return NoiseMaps(xs, zs, tuple(sigmas), 0.0, flow, 0, {})


@pytest.mark.parametrize("evaluate_at", ["target", "current"])
def test_path_is_first_order_against_the_closed_form(evaluate_at):
    data, x_0 = GaussianData(), normal(1, 1, 3, 3)
    errors = []
    for steps in (100, 200, 400):
        sigmas = [4.0 + (0.1 - 4.0) * i / steps for i in range(steps + 1)]
        exact = data.mean + (x_0 - data.mean) * sqrt(
            (data.std**2 + sigmas[0] ** 2) / (data.std**2 + sigmas[-1] ** 2)
        )
        path = climb(data, x_0, sigmas, evaluate_at=evaluate_at)
        errors.append((path[0] - exact).abs().max().item())
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_path_equals_the_papers_notation(prediction):
    denoise, x_0 = RandomNetwork(prediction), normal(*IMAGE)
    alpha_bars = [1 / (1 + sigma**2) for sigma in FALLING]
    paper = reference.ddim_invert(denoise.eps, x_0, alpha_bars[::-1])[::-1]
    for x, x_paper, alpha_bar in zip(climb(denoise, x_0, FALLING), paper, alpha_bars, strict=True):
        assert (x * sqrt(alpha_bar) - x_paper).abs().max() < 1e-10


@pytest.mark.parametrize("shape", [IMAGE, VIDEO])
@pytest.mark.parametrize("evaluate_at", ["target", "current"])
@pytest.mark.parametrize("prediction", FAMILIES)
def test_replay_with_residuals_returns_the_image(prediction, evaluate_at, shape):
    denoise, x_0 = RandomNetwork(prediction), normal(*shape)
    flow = prediction == "flow"
    maps = bundle(denoise, x_0, FLOW if flow else FALLING, flow, evaluate_at=evaluate_at)
    assert (replay(denoise, maps) - x_0).abs().max() < 1e-12
    assert (replay(denoise, maps, residual=0.0) - x_0).abs().max() > 1e-3


def test_residual_0_is_plain_ddim():
    denoise, x_0 = RandomNetwork("eps"), normal(*IMAGE)
    maps = bundle(denoise, x_0, FALLING)
    plain = maps._replace(zs=torch.zeros_like(maps.zs))
    assert replay(denoise, maps, residual=0.0).equal(replay(denoise, plain))


@pytest.mark.parametrize("evaluate_at", ["target", "current"])
@pytest.mark.parametrize("prediction", FAMILIES)
def test_fixed_point_is_the_inverse_of_the_step(prediction, evaluate_at):
    flow = prediction == "flow"
    sigmas = [i / 40 for i in range(40, -1, -1)] if flow else [4 * 0.9**i for i in range(60)] + [0]
    network = RandomNetwork(prediction)
    network.weight *= 0.1  # a slope below 1, so that repetition contracts

    def distance(fixed_point_steps):
        maps = bundle(
            network, normal(*IMAGE), sigmas, flow,
            evaluate_at=evaluate_at, fixed_point_steps=fixed_point_steps,
        )  # fmt: skip
        return maps.zs.abs().max()

    assert distance(40) < 1e-9 < distance(0)


def test_fixed_point_converges_at_the_huge_step_of_zero_terminal_snr():
    maps = bundle(
        GaussianData(), normal(*IMAGE), [4518.0, 40.0, 9.0, 3.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.0],
        fixed_point_steps=60,
    )  # fmt: skip
    assert maps.zs.abs().max() < 1e-9


def test_flow_asks_the_network_at_sigma_1_too():
    x_0, network = normal(*IMAGE), RandomNetwork("flow")

    def other_at_1(x, sigma):
        return network(x, sigma) + (sigma[0] == 1)

    assert (climb(network, x_0, FLOW, True)[0] - climb(other_at_1, x_0, FLOW, True)[0]).abs().max()


def test_batch_item_alone_equals_the_item_in_a_batch():
    denoise, x_0 = RandomNetwork("v"), normal(3, 4, 6, 5)
    alone = climb(denoise, x_0[1:2], FALLING, fixed_point_steps=2)
    assert (climb(denoise, x_0, FALLING, fixed_point_steps=2)[:, 1:2] - alone).abs().max() < 1e-10


def test_every_step_is_reported_upwards():
    seen = []
    climb(RandomNetwork("v"), normal(*IMAGE), FALLING, on_step=lambda i, x, d: seen.append(i))
    assert seen == list(range(1, len(FALLING)))
