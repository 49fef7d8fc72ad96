from math import sqrt

import pytest
import reference
import torch
from imprint_pack.inversion import NoiseMaps, ddim_path, optimize, plan_steps, replay
from imprint_pack.inversion.null_text import _Search
from problems import PromptedNetwork, normal

STEPS, IMAGE = 50, (2, 4, 6, 5)
SIGMAS = [14.6 * (1 - i / STEPS) ** 3 for i in range(STEPS)] + [0.0]
START = torch.zeros(2, 2, 3, dtype=torch.float64)


def pivot_of(network: PromptedNetwork, x_0, sigmas=SIGMAS):
    """DDIM inversion at cfg 1."""

    def denoise(x, sigma):
        level = float(sigma[0])
        alpha_bar = 1 / (1 + level**2)
        return x - level * network.eps(x * sqrt(alpha_bar), alpha_bar, network.conditional)

    return ddim_path(denoise, x_0, sigmas, False, [1 / sqrt(1 + s**2) for s in sigmas])


def solve(network, x_0, start=START, sigmas=SIGMAS, **settings):
    return optimize(network.guide, pivot_of(network, x_0, sigmas), sigmas, False, start, **settings)


@pytest.mark.parametrize("cfg", [3.0, 7.5])
def test_gradient_equals_finite_differences(cfg):
    network, x = PromptedNetwork(cfg), 3 * normal(*IMAGE, seed=5)
    (step,) = plan_steps([3.0, 2.0], 0.0, False)
    guide = network.guide(x, torch.full((2,), 3.0))
    search = _Search(x, step, guide, 2 * normal(*IMAGE, seed=6), False)
    updates = torch.zeros(2)
    uncond = normal(2, 2, 3, seed=7).requires_grad_()
    gradient = search.gradient(search.attempt(uncond, updates))
    for token in range(2):
        for component in range(3):
            shift = torch.zeros_like(uncond)
            shift[:, token, component] = 1e-5
            up, down = (search.attempt(uncond + s, updates).loss for s in (shift, -shift))
            expected = (up - down).detach() / 2e-5
            assert (gradient[:, token, component] - expected).abs().max() < 1e-7 * up.max()


@pytest.mark.parametrize("cfg", [3.0, 7.5])
def test_result_reproduces_the_authors_loop(cfg):
    network, x_0 = PromptedNetwork(cfg), normal(1, *IMAGE[1:])
    found = solve(network, x_0, START[:1])
    alpha_bars = [1 / (1 + sigma**2) for sigma in SIGMAS]
    pivot = [x * sqrt(a) for x, a in zip(pivot_of(network, x_0), alpha_bars, strict=True)]
    embeddings, latents = reference.null_text(
        network.eps, network.conditional, START[:1], pivot, alpha_bars, cfg, 10
    )
    assert found.updates.max() == 10
    assert (found.uncond - torch.stack(embeddings)).abs().max() < 1e-6
    assert (found.xs[-1] - latents[-1]).abs().max() < 1e-6


@pytest.mark.parametrize("online", [False, True])
def test_null_text_brings_guided_sampling_back_to_the_pivot(online):
    network, x_0 = PromptedNetwork(7.5), normal(*IMAGE)
    without = solve(network, x_0, learning_rate=1e-12)
    found = solve(network, x_0, learning_rate=0.05 if online else 0.01, online=online)
    assert found.losses[-1].max() < 0.2 * without.losses[-1].min()


@pytest.mark.parametrize("learning_rate", [0.01, 1.0, 30.0])
def test_loss_after_a_step_is_never_larger_than_at_its_start(learning_rate):
    network, x_0 = PromptedNetwork(7.5), normal(*IMAGE)
    settings = {"sigmas": SIGMAS[30:32], "learning_rate": learning_rate, "tolerance": 0.0}
    start = solve(network, x_0, inner_steps=0, **settings)
    after = solve(network, x_0, inner_steps=6, **settings)
    assert (after.losses <= start.losses).all()


def test_kept_embeddings_walk_the_kept_path():
    network, x_0 = PromptedNetwork(7.5), normal(*IMAGE)
    found = solve(network, x_0)
    levels = dict(zip(SIGMAS, found.uncond, strict=False))

    def denoise(x, sigma):
        return network.guide(x, sigma)(levels[float(sigma[0])])

    maps = NoiseMaps(found.xs, torch.zeros_like(found.xs[1:]), tuple(SIGMAS), 0.0, False, 0, {})
    assert replay(denoise, maps).equal(found.xs[-1])


def test_more_than_100_steps_still_learn():
    sigmas = [14.6 * (1 - i / 150) ** 3 for i in range(150)] + [0.0]
    found = solve(PromptedNetwork(7.5), normal(*IMAGE), sigmas=sigmas, tolerance=-1.0)
    moved = (found.uncond[1:] - found.uncond[:-1]).flatten(1).abs().max(1).values
    assert moved[-20:].min() > 0


def test_images_stop_each_on_their_own():
    network = PromptedNetwork(7.5)
    x_0 = torch.cat([0.01 * normal(1, *IMAGE[1:]), 3 * normal(1, *IMAGE[1:], seed=1)])
    both = solve(network, x_0, tolerance=0.02)
    assert (both.updates[:, 0] != both.updates[:, 1]).any()
    for item in range(2):
        alone = solve(network, x_0[item : item + 1], START[:1], tolerance=0.02)
        assert alone.updates[:, 0].equal(both.updates[:, item])
        assert (alone.uncond[:, 0] - both.uncond[:, item]).abs().max() < 1e-9


@pytest.mark.parametrize("online", [False, True])
def test_inputs_are_left_alone(online):
    start = START.clone()
    solve(PromptedNetwork(7.5), normal(*IMAGE), start, online=online)
    assert start.equal(START)
    assert not start.requires_grad


def test_infinite_gradient_names_the_step():
    """Half precision can overflow in the backward pass alone."""
    network = PromptedNetwork(7.5)

    def guide(x, sigma):
        answer = network.guide(x, sigma)

        def denoised_with(uncond):
            out = answer(uncond)
            if sigma[0] < SIGMAS[3] and out.requires_grad:
                out.register_hook(lambda gradient: gradient * float("inf"))
            return out

        return denoised_with

    with pytest.raises(ValueError, match=r"NaN or infinite values at step 4 of 50"):
        optimize(guide, pivot_of(network, normal(*IMAGE)), SIGMAS, False, START)


def test_nan_names_the_step():
    network = PromptedNetwork(7.5)
    pivot = pivot_of(network, normal(*IMAGE))

    def guide(x, sigma):
        answer = network.guide(x, sigma)
        return lambda uncond: answer(uncond) * (float("nan") if sigma[0] < SIGMAS[6] else 1)

    with pytest.raises(ValueError, match=r"NaN or infinite values at step 7 of 50: use a float32"):
        optimize(guide, pivot, SIGMAS, False, START)
