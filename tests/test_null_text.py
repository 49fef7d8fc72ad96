"""Null text by the paper's loop; that it gives the authors' numbers is shown in test_golden.py."""

import pytest
import torch
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.null_text import Aim, null_text_inversion
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.walk import replay
from methods import ddim
from problems import FAMILIES, IMAGE, PromptedNetwork, falling, normal

STEPS, CFG = 50, 7.5
START = torch.zeros(2, 2, 3, dtype=torch.float64)


def pivot_of(network: PromptedNetwork, x_0=None, steps=STEPS) -> NoiseMaps:
    return ddim(network, normal(*IMAGE) if x_0 is None else x_0, network.schedule(steps))


def solve(network, pivot, start=START, **settings):
    return null_text_inversion(network.guide(CFG), pivot.xs, pivot.schedule, start, **settings)


@pytest.fixture(scope="module")
def network():
    network = PromptedNetwork("eps")
    network.source *= 0.2  # so near to the empty prompt that the embedding can make up for it
    return network


@pytest.fixture(scope="module")
def pivot(network):
    return pivot_of(network)


@pytest.fixture(scope="module")
def found(network, pivot):
    return solve(network, pivot)


@pytest.mark.parametrize("prediction", FAMILIES)
@pytest.mark.parametrize("cfg", [3.0, 7.5])
def test_gradient_equals_finite_differences(cfg, prediction):
    network, x = PromptedNetwork(prediction), normal(*IMAGE, seed=5)
    schedule = Schedule((0.9, 0.6), network.flow, 0.0)
    guided = network.guide(cfg)(x, torch.full((2,), 0.9))
    aim = Aim(guided, x, schedule.steps[0], 2 * normal(*IMAGE, seed=6), schedule)
    uncond = normal(2, 2, 3, seed=7).requires_grad_()
    gradient = aim.gradient(aim.land(uncond))
    for token in range(2):
        for component in range(3):
            shift = torch.zeros_like(uncond)
            shift[:, token, component] = 1e-5
            up, down = (aim.land(uncond + change).loss for change in (shift, -shift))
            expected = (up - down).detach() / 2e-5
            assert (gradient[:, token, component] - expected).abs().max() < 1e-7 * up.max()


@pytest.mark.parametrize(
    ("sigmas", "flow", "scale"),
    [((3.0, 2.0), False, 5**0.5), ((0.9, 0.8), True, 1.0)],  # x_t = x / sqrt(1 + 2^2)
    ids=["eps", "flow"],
)
def test_loss_is_in_the_papers_units(sigmas, flow, scale):
    x, schedule = normal(*IMAGE), Schedule(sigmas, flow, 0.0)
    aim = Aim(lambda uncond: 2 * x, x, schedule.steps[0], x, schedule)
    landing = aim.land(START)
    paper = ((landing.x_next - x) / scale).square().mean((1, 2, 3))
    assert (landing.loss - paper).abs().max() < 1e-12


def test_null_text_brings_guided_sampling_back_to_the_pivot(network, pivot, found):
    without = solve(network, pivot, inner_steps=0)
    assert without.uncond.equal(START.expand(STEPS, *START.shape))
    assert found.losses[-1].max() < 0.01 * without.losses[-1].min()
    strayed = (without.xs[-1] - pivot.xs[-1]).square().mean()
    assert (found.xs[-1] - pivot.xs[-1]).square().mean() < 0.01 * strayed


@pytest.mark.parametrize("learning_rate", [0.01, 1.0, 30.0])
def test_loss_after_a_step_is_never_larger_than_at_its_start(network, pivot, learning_rate):
    part = pivot.schedule.sigmas[30:32], pivot.schedule.flow, 0.0
    path = pivot.replace(xs=pivot.xs[30:32], zs=pivot.zs[30:31], schedule=Schedule(*part))
    settings = {"learning_rate": learning_rate, "tolerance": 0.0}
    start = solve(network, path, inner_steps=0, **settings)
    after = solve(network, path, inner_steps=6, **settings)
    assert (after.losses <= start.losses).all()


def test_kept_embeddings_walk_the_kept_path_to_the_last_bit(network, pivot, found):
    maps = pivot.replace(xs=found.xs, zs=torch.zeros_like(pivot.zs), uncond=found.uncond, cfg=CFG)
    walked = [maps.xs[0]]
    replay(network.replaying(maps), maps, on_step=lambda i, x, denoised: walked.append(x))
    assert torch.stack(walked).equal(found.xs)


@pytest.mark.parametrize("steps", [25, 150])
def test_any_number_of_steps_learns_to_the_end(network, steps):
    settings = {"inner_steps": 2, "tolerance": -1.0}
    found = solve(network, pivot_of(network, steps=steps), **settings)
    moved = (found.uncond[1:] - found.uncond[:-1]).flatten(1).abs().max(1).values
    # By at least the half of 0.01 to which the rate falls, unless the update before was better.
    assert found.updates.equal(torch.full((steps, 2), 2))
    assert moved[-steps // 8 :].max() > 0.005


def test_images_stop_each_on_their_own(network):
    x_0 = torch.cat([0.01 * normal(1, *IMAGE[1:]), 3 * normal(1, *IMAGE[1:], seed=1)])
    both = solve(network, pivot_of(network, x_0), tolerance=0.02)
    assert (both.updates[:, 0] != both.updates[:, 1]).any()
    for item in range(2):
        alone = solve(network, pivot_of(network, x_0[item : item + 1]), START[:1], tolerance=0.02)
        assert alone.updates[:, 0].equal(both.updates[:, item])
        assert (alone.uncond[:, 0] - both.uncond[:, item]).abs().max() < 1e-9


def test_inputs_are_left_alone(network, pivot):
    start, path = START.clone(), pivot.xs.clone()
    solve(network, pivot, start, inner_steps=1)
    assert start.equal(START)
    assert not start.requires_grad
    assert pivot.xs.equal(path)


def test_every_step_is_reported(network, pivot):
    seen = []
    found = solve(network, pivot, inner_steps=1, on_step=lambda *report: seen.append(report))
    assert [done for done, *_ in seen] == list(range(1, STEPS + 1))
    assert all(x.equal(found.xs[done]) for done, x, _, _ in seen)
    assert all(loss.equal(found.losses[done - 1]) for done, _, _, loss in seen)


def spoiled_below(sigma, spoil):
    """The guided network, whose answers are spoiled below a level."""
    guide = PromptedNetwork("eps").guide(CFG)

    def guided(x, level):
        answer = guide(x, level)
        return lambda uncond: spoil(answer(uncond)) if level[0] < sigma else answer(uncond)

    return guided


def with_infinite_gradient(out):
    """Half precision can overflow in the backward pass alone."""
    if out.requires_grad:
        out.register_hook(lambda gradient: gradient * float("inf"))
    return out


@pytest.mark.parametrize("spoil", [with_infinite_gradient, lambda out: out * float("nan")])
def test_values_that_are_not_finite_are_named_with_their_step(pivot, spoil):
    guide = spoiled_below(falling(STEPS)[3], spoil)
    message = "Null text met NaN or infinite values at step 4 of 50: use a float32 model, or a lo"
    with pytest.raises(ValueError, match=message):
        null_text_inversion(guide, pivot.xs, pivot.schedule, START)
