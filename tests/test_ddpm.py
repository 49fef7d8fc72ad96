from math import sqrt

import pytest
import reference
import torch
from imprint_pack.inversion import (
    NoiseMaps,
    edit_friendly_path,
    extract,
    native_path,
    neighbour_correlation,
    plan_steps,
    record,
    replay,
    variance_per_step,
)
from problems import FALLING, FLOW, STEPS, GaussianData, RandomNetwork, normal

IMAGE, VIDEO = (2, 4, 6, 5), (1, 4, 3, 6, 5)


def invert(denoise, x_0, sigmas, eta=1.0, flow=False, together=1, seed=7) -> NoiseMaps:
    noise = normal(len(sigmas), *x_0.shape, seed=seed, dtype=x_0.dtype)
    xs, zs = extract(
        denoise, edit_friendly_path(x_0, sigmas, flow, noise), sigmas, eta, flow, together
    )
    return NoiseMaps(xs, zs, tuple(sigmas), eta, flow, 0, {})


def schedule_of(prediction):
    return FLOW if prediction == "flow" else FALLING


@pytest.mark.parametrize("shape", [IMAGE, VIDEO])
@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_replay_of_any_network_returns_the_image(prediction, eta, shape):
    denoise, x_0 = RandomNetwork(prediction), normal(*shape)
    maps = invert(denoise, x_0, schedule_of(prediction), eta, prediction == "flow")
    assert (replay(denoise, maps) - x_0).abs().max() < 1e-12


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_replay_in_float32_walks_the_same_path_to_the_last_bit(prediction, eta):
    denoise, x_0 = RandomNetwork(prediction), normal(*IMAGE, dtype=torch.float32)
    maps = invert(denoise, x_0, schedule_of(prediction), eta, prediction == "flow")
    walked = [maps.xs[0]]
    replay(denoise, maps, on_step=lambda i, x, denoised: walked.append(x))
    assert torch.stack(walked).equal(maps.xs)
    # Only the correction's own rounding separates the path from the image.
    assert (maps.xs[-1] - x_0).abs().max() < 1e-5


@pytest.mark.parametrize("together", [5, STEPS, 100])
@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_batched_timesteps_return_the_image_up_to_rounding(prediction, together):
    # The batch's model call sees latents from before the correction, and sums in another order:
    # rounding errors of float32 at sigma 14 pass through the network, so the replay is close and no
    # longer bit-exact.
    denoise, x_0 = RandomNetwork(prediction), normal(*IMAGE, dtype=torch.float32)
    maps = invert(denoise, x_0, schedule_of(prediction), 1.0, prediction == "flow", together)
    assert (replay(denoise, maps) - x_0).abs().max() < 1e-3


@pytest.mark.parametrize("skip", [1, 5, STEPS - 1])
def test_replay_from_any_step_returns_the_image(skip):
    denoise, x_0 = RandomNetwork("eps"), normal(*IMAGE)
    assert (replay(denoise, invert(denoise, x_0, FALLING), skip) - x_0).abs().max() < 1e-12


def test_one_step_schedule_returns_the_image():
    denoise, x_0 = RandomNetwork("eps"), normal(*IMAGE)
    assert (replay(denoise, invert(denoise, x_0, [2.0, 0.0])) - x_0).abs().max() < 1e-12


def test_schedule_that_ends_above_0_returns_its_last_level():
    denoise, x_0 = RandomNetwork("eps"), normal(*IMAGE)
    maps = invert(denoise, x_0, FALLING[:-2])
    assert (replay(denoise, maps) - maps.xs[-1]).abs().max() < 1e-12


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_maps_and_edits_equal_the_papers_notation(eta):
    source, target = RandomNetwork("eps"), RandomNetwork("eps", seed=3)
    x_0, noise = normal(*IMAGE), normal(STEPS + 1, *IMAGE, seed=7)
    alpha_bars = [1 / (1 + sigma**2) for sigma in FALLING]
    scale = [sqrt(a) for a in alpha_bars]

    def predict(network):
        def eps(x_t, alpha_bar):
            sigma = sqrt((1 - alpha_bar) / alpha_bar)
            return network.network(x_t) / (1 + sigma)

        return eps

    paper_x, paper_z = reference.invert(predict(source), x_0, alpha_bars, noise, eta)
    maps = invert(source, x_0, FALLING, eta)
    for i in range(STEPS):
        assert (maps.xs[i] * scale[i] - paper_x[i]).abs().max() < 1e-10
        assert (maps.zs[i] - paper_z[i]).abs().max() < 1e-9
    edited = reference.sample(predict(target), paper_x[0], alpha_bars, paper_z, eta)
    assert (replay(target, maps) - edited).abs().max() < 1e-9


def test_residual_0_leaves_out_the_last_map_as_the_authors_do():
    source, target = RandomNetwork("eps"), RandomNetwork("eps", seed=3)
    maps = invert(source, normal(*IMAGE), FALLING)
    without = maps._replace(zs=torch.cat([maps.zs[:-1], torch.zeros_like(maps.zs[-1:])]))
    assert replay(target, maps, residual=0.0).equal(replay(target, without))


def test_variance_of_gaussian_data_has_its_closed_form():
    data = GaussianData()
    x_0 = data.mean + data.std * normal(4, 4, 100, 100, seed=2)
    maps = invert(data, x_0, FALLING)
    for step, found in zip(
        plan_steps(FALLING[:-1], 1.0, False), variance_per_step(maps.zs), strict=False
    ):
        keep = data.std**2 / (data.std**2 + step.sigma**2)  # denoised = keep x + (1 - keep) mean
        of_noise = step.sigma * (keep + step.carry * (1 - keep))
        of_data = (1 - keep) * (1 - step.carry)
        exact = (step.sigma_next**2 + of_noise**2 + (of_data * data.std) ** 2) / step.std**2
        assert found == pytest.approx(exact, rel=0.03)  # 160,000 samples


def test_recorded_maps_are_white_and_come_back_from_extraction():
    data = GaussianData()
    x_T, noise = FALLING[0] * normal(1, 4, 80, 80), normal(STEPS, 1, 4, 80, 80, seed=1)
    xs, zs = record(data, x_T, FALLING, 1.0, False, noise)
    _, found = extract(data, xs, FALLING, 1.0, False)
    assert (found - zs).abs().max() < 1e-9
    assert variance_per_step(zs[:-1]).sub(1).abs().max() < 0.05
    assert neighbour_correlation(zs[:-1]).abs().max() < 0.05


def test_edit_friendly_maps_of_neighbours_oppose_each_other():
    maps = invert(GaussianData(), normal(1, 4, 80, 80), [14.6 * 0.9**i for i in range(20)])
    assert neighbour_correlation(maps.zs).max() < -0.4


def test_native_path_keeps_the_marginals_of_every_level():
    x_0 = torch.full((1, 4, 100, 100), 0.5, dtype=torch.float64)
    for sigmas, flow in ((FALLING, False), (FLOW, True)):
        path = native_path(x_0, sigmas, 1.0, flow, normal(STEPS + 1, *x_0.shape, seed=4))
        for x, sigma in zip(path, sigmas, strict=True):
            assert x.mean() == pytest.approx(
                0.5 * (1 - sigma if flow else 1), abs=0.03 * (sigma + 1e-9)
            )
            assert x.std() == pytest.approx(sigma, rel=0.03, abs=1e-9)


def test_native_maps_return_the_image_too():
    denoise, x_0 = RandomNetwork("v"), normal(*IMAGE)
    path = native_path(x_0, FALLING, 1.0, False, normal(STEPS + 1, *IMAGE, seed=4))
    xs, zs = extract(denoise, path, FALLING, 1.0, False)
    assert (
        replay(denoise, NoiseMaps(xs, zs, tuple(FALLING), 1.0, False, 0, {})) - x_0
    ).abs().max() < 1e-12


@pytest.mark.parametrize("together", [1, 4])
def test_batch_item_alone_equals_the_item_in_a_batch(together):
    denoise, x_0 = RandomNetwork("eps"), normal(3, 4, 6, 5)
    noise = normal(STEPS + 1, *x_0.shape, seed=7)
    _, zs = extract(
        denoise, edit_friendly_path(x_0, FALLING, False, noise), FALLING, 1.0, False, together
    )
    path = edit_friendly_path(x_0[1:2], FALLING, False, noise[:, 1:2])
    _, alone = extract(denoise, path, FALLING, 1.0, False, together)
    assert (zs[:, 1:2] - alone).abs().max() < 1e-10


def test_extraction_leaves_its_input_alone():
    x_0 = normal(*IMAGE)
    path = edit_friendly_path(x_0, FALLING, False, normal(STEPS + 1, *IMAGE, seed=7))
    before = path.clone()
    extract(RandomNetwork("eps"), path, FALLING, 1.0, False)
    assert path.equal(before)


class TestMask:
    source, target = RandomNetwork("eps"), RandomNetwork("eps", seed=3)
    x_0 = normal(*IMAGE)

    def edit(self, mask, skip=0):
        return replay(self.target, invert(self.source, self.x_0, FALLING), skip, mask=mask)

    @pytest.mark.parametrize("skip", [0, 4])
    def test_black_is_exactly_the_bundle(self, skip):
        maps = invert(self.source, self.x_0, FALLING)
        assert self.edit(torch.zeros_like(self.x_0), skip).equal(maps.xs[-1])

    def test_white_changes_nothing(self):
        assert (self.edit(torch.ones_like(self.x_0)) - self.edit(None)).abs().max() < 1e-12

    def test_half_keeps_one_half_and_edits_the_other(self):
        mask = torch.zeros_like(self.x_0)
        mask[..., :3] = 1
        edited, maps = self.edit(mask), invert(self.source, self.x_0, FALLING)
        assert edited[..., 3:].equal(maps.xs[-1][..., 3:])
        assert (edited - maps.xs[-1])[..., :3].abs().max() > 0.1

    def test_grey_does_not_compound_over_steps(self):
        # The target departs from the source in its first step alone: a mask of 0.5 must halve the
        # departure once, however many steps carry it on.
        sigmas = FALLING[:6]
        top = torch.tensor(sigmas[0], dtype=torch.float64)

        def black(x, sigma):
            return torch.zeros_like(x)

        def departing(x, sigma):
            return torch.full_like(x, 0.8) if sigma[0] == top else black(x, sigma)

        maps = invert(black, self.x_0, sigmas, eta=0.3)
        white = replay(departing, maps) - maps.xs[-1]
        grey = replay(departing, maps, mask=torch.full_like(self.x_0, 0.5)) - maps.xs[-1]
        assert white.abs().min() > 1e-3
        assert (grey - 0.5 * white).abs().max() < 1e-9
