"""Null text online: one or two updates a step."""

import pytest
import torch
from imprint_pack.inversion.fast_null_text import fast_null_text_inversion
from methods import ddim
from problems import IMAGE, PromptedNetwork, normal

STEPS, CFG = 50, 7.5
START = torch.zeros(2, 2, 3, dtype=torch.float64)


@pytest.fixture(scope="module")
def network():
    network = PromptedNetwork("eps")
    network.source *= 0.2  # so near to the empty prompt that the embedding can make up for it
    return network


@pytest.fixture(scope="module")
def pivot(network):
    return ddim(network, normal(*IMAGE), network.schedule(STEPS))


def solve(network, pivot, start=START, **settings):
    return fast_null_text_inversion(network.guide(CFG), pivot.xs, pivot.schedule, start, **settings)


@pytest.fixture(scope="module")
def found(network, pivot):
    return solve(network, pivot)


def test_it_brings_guided_sampling_back_to_the_pivot(network, pivot, found):
    without = solve(network, pivot, inner_steps=0)
    assert without.uncond.equal(START.expand(STEPS, *START.shape))
    assert found.losses[-1].max() < 0.01 * without.losses[-1].min()


def test_a_step_costs_one_update_and_the_last_ones_two(found):
    assert found.updates.equal(torch.tensor([1] * 35 + [2] * 15).unsqueeze(1).expand(STEPS, 2))


@pytest.mark.parametrize(("late", "expected"), [(0.0, 6), (1.1, 3)])
def test_updates_and_where_they_double_can_be_set(network, pivot, late, expected):
    assert (solve(network, pivot, inner_steps=3, late=late).updates == expected).all()


def test_losses_are_distances_to_the_pivot(pivot, found):
    units = torch.tensor(pivot.schedule.sigmas[1:], dtype=torch.float64).square() + 1
    distances = (found.xs - pivot.xs)[1:].square().flatten(2).mean(2) / units.unsqueeze(1)
    assert (found.losses - distances).abs().max() < 1e-12


def test_images_do_not_depend_on_each_other(network, pivot, found):
    x_0 = normal(*IMAGE)[1:]
    alone = solve(network, ddim(network, x_0, network.schedule(STEPS)), START[1:])
    assert (alone.uncond[:, 0] - found.uncond[:, 1]).abs().max() < 1e-9


def test_inputs_are_left_alone(network, pivot, found):
    start, path = START.clone(), pivot.xs.clone()
    assert solve(network, pivot, start).uncond.equal(found.uncond)
    assert start.equal(START)
    assert not start.requires_grad
    assert pivot.xs.equal(path)


def test_values_that_are_not_finite_are_named_with_their_step(network, pivot):
    def guide(x, sigma):
        answer = network.guide(CFG)(x, sigma)
        broken = sigma[0] < pivot.schedule.sigmas[6]
        return lambda uncond: answer(uncond) * (float("nan") if broken else 1)

    with pytest.raises(ValueError, match=r"NaN or infinite values at step 7 of 50: use a float32"):
        fast_null_text_inversion(guide, pivot.xs, pivot.schedule, START)
