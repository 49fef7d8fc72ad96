import pytest
from imprint_pack.inversion import check_eta, check_sigmas, check_skip, plan_step
from problems import normal
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


def test_eta_0_has_no_noise():
    assert plan_step(3.0, 2.0, eta=0.0, flow=False).std == 0


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([], "holds 0 sigmas and so no step: set steps to 1 or more"),
        ([1.0], "holds 1 sigmas and so no step"),
        ([0.0, 1.0, 2.0], "step 0 goes from 0 to 1: connect the schedule itself, not a flipped"),
        ([3.0, 2.0, 2.0, 1.0], "step 1 goes from 2 to 2"),
        ([3.0, -1.0], "step 0 goes from 3 to -1"),
        ([float("nan"), 1.0], "Step 0 goes from sigma nan to 1.0: use another scheduler"),
        ([float("inf"), 1.0], "Step 0 goes from sigma inf to 1.0: use another scheduler"),
    ],
)
def test_wrong_schedules_are_named(sigmas, message):
    with pytest.raises(ValueError, match=message):
        check_sigmas(sigmas, flow=False)


def test_flow_schedule_above_1_is_named():
    with pytest.raises(
        ValueError, match=r"schedule starts at 14\.6: use a scheduler of this model"
    ):
        check_sigmas([14.6, 1.0, 0.0], flow=True)


def test_eta_0_points_to_ddim():
    with pytest.raises(ValueError, match="use DDIM Invert"):
        check_eta(0)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_named(eta):
    with pytest.raises(ValueError, match="must lie above 0"):
        check_eta(eta)


@pytest.mark.parametrize("skip", [100, 250, -1])
def test_skipping_everything_proposes_36_percent(skip):
    with pytest.raises(ValueError, match=r"there are 100 steps: set it to 36 \(36 %\) or less"):
        check_skip(skip, 100)
