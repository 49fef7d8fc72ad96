import pytest
import torch
from imprint_pack.inversion import neighbour_angles, white_angle_density
from problems import normal


@pytest.mark.parametrize("channels", [2, 3, 4, 16])
def test_angles_of_white_maps_have_the_white_density(channels):
    angles = neighbour_angles(normal(3, 2, channels, 80, 80))
    assert angles.shape == (2, 2, 80, 80)
    found = torch.histc(angles, 12, 0, 180) / angles.numel()
    degrees = torch.linspace(0, 180, 1201, dtype=torch.float64)
    expected = white_angle_density(degrees[:-1], channels).view(12, 100).mean(1) * 15
    assert (found - expected).abs().max() < 0.01  # 25,600 samples


def test_opposed_maps_lie_180_degrees_apart():
    z = normal(1, 1, 4, 8, 8)
    assert (neighbour_angles(torch.cat([z, -2 * z])) - 180).abs().max() < 1e-3
