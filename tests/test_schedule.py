from dataclasses import FrozenInstanceError

import pytest
from imprint_pack.inversion.schedule import Schedule, plan_step
from problems import falling, normal
from reference import posterior


@pytest.mark.parametrize(("sigma", "sigma_next"), [(14.6, 9.0), (1.3, 1.2), (0.03, 0.001)])
def test_step_at_eta_1_is_the_posterior_of_the_chain(sigma, sigma_next):
    x, x_0 = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    step = plan_step(sigma, sigma_next, eta=1.0, flow=False)
    mean, std = posterior(x, x_0, 1, sigma, 1, sigma_next)
    assert step.std == pytest.approx(std, rel=1e-12)
    assert (step.mean(x, x_0) - mean).abs().max() < 1e-12


@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 0.9), (0.5, 0.4), (0.05, 0.01)])
def test_flow_step_at_eta_1_is_the_posterior_of_the_chain(sigma, sigma_next):
    x, x_0 = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    step = plan_step(sigma, sigma_next, eta=1.0, flow=True)
    mean, std = posterior(x, x_0, 1 - sigma, sigma, 1 - sigma_next, sigma_next)
    assert step.std == pytest.approx(std, rel=1e-12)
    assert (step.mean(x, x_0) - mean).abs().max() < 1e-12


@pytest.mark.parametrize("flow", [False, True])
def test_last_step_lands_on_denoised_without_noise(flow):
    x, denoised = normal(1, 3, 4, 4), normal(1, 3, 4, 4, seed=1)
    step = plan_step(0.3, 0.0, eta=1.0, flow=flow)
    assert step.std == 0
    assert step.scale == 1
    assert step.mean(x, denoised).equal(denoised)


def test_eta_0_has_no_noise_and_carries_x_by_the_ratio_of_levels():
    step = plan_step(3.0, 2.0, eta=0.0, flow=False)
    assert step.std == 0
    assert step.carry == pytest.approx(2 / 3, rel=1e-12)


def test_a_schedule_plans_a_step_between_each_two_levels():
    schedule = Schedule((3.0, 2.0, 0.5, 0.0), flow=False, eta=0.7)
    levels = [(step.sigma, step.sigma_next) for step in schedule.steps]
    assert levels == [(3, 2), (2, 0.5), (0.5, 0)]
    assert schedule.steps[1] == plan_step(2.0, 0.5, 0.7, False)
    assert schedule.steps is schedule.steps  # once, however often they are asked for
    assert schedule.alphas == (1, 1, 1, 1)
    assert schedule.noisy_steps == [0, 1]


def test_a_flow_schedule_weighs_the_picture_by_what_is_not_noise():
    assert Schedule((1.0, 0.25, 0.0), flow=True, eta=1.0).alphas == (0, 0.75, 1)


def test_a_schedule_without_noise_has_no_noisy_steps():
    assert Schedule(falling(), flow=False, eta=0.0).noisy_steps == []


def test_a_schedule_after_some_steps_is_its_rest():
    schedule = Schedule(falling(), flow=False, eta=0.3)
    assert schedule.after(0) == schedule
    assert schedule.after(5) == Schedule(falling()[5:], flow=False, eta=0.3)
    assert schedule.after(5).steps == schedule.steps[5:]


def test_a_schedule_cannot_be_changed():
    schedule = Schedule(falling(), flow=False, eta=0.3)
    with pytest.raises(FrozenInstanceError):
        schedule.eta = 0.5


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        (
            (),
            "too short for a step, with 0 of at least 2 sigmas .*: set steps to 1 or more",
        ),
        ((1.0,), "too short for a step, with 1 of at least 2 sigmas"),
        ((0.0, 1.0, 2.0), "step 0 goes from 0 to 1: connect the schedule itself, not a flipped"),
        ((3.0, 2.0, 2.0, 1.0), "step 1 goes from 2 to 2.* set fewer steps where levels repeat"),
        ((3.0, -1.0), "step 0 goes from 3 to -1"),
        (
            (float("nan"), 1.0),
            "Step 0 goes from sigma nan to 1.0, .* number: use another sched",
        ),
        (
            (float("inf"), 1.0),
            "Step 0 goes from sigma inf to 1.0, .* number: use another sched",
        ),
        (
            (1.0, 0.5, float("nan")),
            "Step 1 goes from sigma 0.5 to nan, .* number: use another",
        ),
    ],
)
def test_wrong_levels_are_named(sigmas, message):
    with pytest.raises(ValueError, match=message):
        Schedule(sigmas, flow=False, eta=1.0)


def test_flow_schedule_above_1_is_named():
    with pytest.raises(ValueError, match=r"schedule starts at 14\.6: use a scheduler of this mode"):
        Schedule((14.6, 1.0, 0.0), flow=True, eta=1.0)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_named(eta):
    with pytest.raises(ValueError, match=rf"eta is {eta}, but must lie between 0 and 1: set it"):
        Schedule(falling(), flow=False, eta=eta)


@pytest.mark.parametrize("skip", [100, 250, -1])
def test_skipping_everything_is_named_with_what_is_possible(skip):
    schedule = Schedule(falling(100), flow=False, eta=1.0)
    with pytest.raises(
        ValueError,
        match=rf"skip_steps is {skip}, but of the 100 steps .* between 0 and 99; 36 is usual",
    ):
        schedule.after(skip, "; 36 is usual")
