import pytest
import torch
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.statistics import (
    edit_friendly_variance,
    neighbour_angles,
    neighbour_correlation,
    variance_per_step,
    white_angle_density,
)
from methods import ddpm
from problems import GaussianData, falling, normal


@pytest.mark.parametrize("channels", [2, 3, 4, 16])
def test_angles_of_white_maps_have_the_white_density(channels):
    angles = neighbour_angles(normal(3, 2, channels, 80, 80))
    assert angles.shape == (2, 2, 80, 80)
    share = torch.histc(angles, 12, 0, 180) / angles.numel()
    degrees = torch.linspace(0, 180, 1201, dtype=torch.float64)
    expected = white_angle_density(degrees[:-1], channels).view(12, 100).mean(1) * 15
    assert (share - expected).abs().max() < 0.01  # 25,600 samples


def test_opposed_maps_lie_180_degrees_apart():
    z = normal(1, 1, 4, 8, 8)
    assert (neighbour_angles(torch.cat([z, -2 * z])) - 180).abs().max() < 1e-3


def test_correlation_is_that_of_neighbours_alone():
    z = normal(2, 1, 4, 80, 80)
    chain = torch.stack([z[0], 3 * z[0], -z[0], z[1]])
    assert neighbour_correlation(chain).tolist() == pytest.approx([1, -1, 0], abs=0.02)


def test_variance_of_gaussian_data_has_its_closed_form():
    data = GaussianData()
    x_0 = data.mean + data.std * normal(4, 4, 100, 100, seed=2)
    maps = ddpm(data, x_0, Schedule(falling(), False, 1.0))
    for step, variance in zip(
        maps.schedule.steps[:-1], variance_per_step(maps.zs)[:-1], strict=True
    ):
        keep = data.std**2 / (data.std**2 + step.sigma**2)  # denoised = keep x + (1 - keep) mean
        of_noise = step.sigma * (keep + step.carry * (1 - keep))
        of_data = (1 - keep) * (1 - step.carry)
        exact = (step.sigma_next**2 + of_noise**2 + (of_data * data.std) ** 2) / step.std**2
        assert variance == pytest.approx(exact, rel=0.03)  # 160,000 samples


@pytest.mark.parametrize("flow", [False, True])
def test_edit_friendly_variance_is_that_of_a_model_without_a_picture(flow):
    """Where the noise outweighs the image, the model's answer does not depend on x."""
    schedule = Schedule(falling(flow=flow), flow, 1.0)
    black = GaussianData()
    black.mean, black.std = 0.0, 0.0
    maps = ddpm(black, torch.zeros(1, 4, 200, 200, dtype=torch.float64), schedule)
    expected = edit_friendly_variance(schedule)
    assert expected[-1] == 1
    assert (variance_per_step(maps.zs)[:-1] / expected[:-1] - 1).abs().max() < 0.02


def test_edit_friendly_maps_of_neighbours_oppose_each_other():
    schedule = Schedule(tuple(14.6 * 0.9**i for i in range(20)), False, 1.0)
    maps = ddpm(GaussianData(), normal(1, 4, 80, 80), schedule)
    assert neighbour_correlation(maps.zs).max() < -0.4
