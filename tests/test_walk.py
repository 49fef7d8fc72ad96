"""Extraction and replay: what holds for all paths and is not in the list of methods."""

from dataclasses import replace
from math import sqrt

import pytest
import reference
import torch
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.paths import edit_friendly_path
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.walk import extract_noise_maps, longest_last_map, replay
from methods import ddim, ddpm
from problems import FAMILIES, IMAGE, STEPS, PromptedNetwork, falling, noise_for, normal


@pytest.mark.parametrize("batch_timesteps", [5, STEPS, 100])
@pytest.mark.parametrize("prediction", FAMILIES)
def test_batched_timesteps_return_the_image_up_to_rounding(prediction, batch_timesteps):
    # The batch's model call sees latents from before the correction, and sums in another order:
    # rounding errors of float32 at sigma 14 pass through the network, so the replay is close and no
    # longer bit-exact.
    network, x_0 = PromptedNetwork(prediction), normal(*IMAGE, dtype=torch.float32)
    maps = ddpm(network, x_0, network.schedule(), batch_timesteps=batch_timesteps)
    assert (replay(network.replaying(maps), maps) - x_0).abs().max() < 1e-3


@pytest.mark.parametrize("batch_timesteps", [5, STEPS])
def test_batched_timesteps_give_the_maps_of_single_ones(batch_timesteps):
    network, x_0 = PromptedNetwork("v"), normal(*IMAGE)
    single = ddpm(network, x_0, network.schedule())
    batched = ddpm(network, x_0, network.schedule(), batch_timesteps=batch_timesteps)
    assert (batched.zs - single.zs).abs().max() < 1e-9


@pytest.mark.parametrize("prediction", FAMILIES)
def test_replay_ends_at_the_corrected_image_to_the_last_bit(prediction):
    network, x_0 = PromptedNetwork(prediction), normal(*IMAGE, dtype=torch.float32)
    maps = ddpm(network, x_0, network.schedule())
    assert replay(network.replaying(maps), maps).equal(maps.xs[-1])


def test_edit_friendly_maps_without_noise_return_the_image():
    network, x_0 = PromptedNetwork("v"), normal(*IMAGE)
    maps = ddpm(network, x_0, network.schedule(), eta=0.0)
    assert (replay(network.replaying(maps), maps) - x_0).abs().max() < 1e-9


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_maps_and_edits_equal_the_papers_notation(eta):
    source, target = PromptedNetwork("eps"), PromptedNetwork("eps", seed=3)
    x_0, schedule = normal(*IMAGE), replace(source.schedule(), eta=eta)
    alpha_bars = [1 / (1 + sigma**2) for sigma in falling()]
    noise = noise_for(x_0, schedule, 7)
    paper_x, paper_z = reference.invert(source.eps, x_0, alpha_bars, noise, eta)
    maps = ddpm(source, x_0, schedule, 7, eta=eta, cfg=1.0)
    for i, alpha_bar in enumerate(alpha_bars[:-1]):
        assert (maps.xs[i] * sqrt(alpha_bar) - paper_x[i]).abs().max() < 1e-10
        assert (maps.zs[i] - paper_z[i]).abs().max() < 1e-9
    edited = reference.sample(target.eps, paper_x[0], alpha_bars, paper_z, eta)
    assert (replay(target.denoise(1), maps) - edited).abs().max() < 1e-9


def test_residual_0_leaves_out_the_last_map_of_ddpm():
    network, x_0 = PromptedNetwork("eps"), normal(*IMAGE)
    maps = ddpm(network, x_0, network.schedule())
    without = maps.replace(zs=torch.cat([maps.zs[:-1], torch.zeros_like(maps.zs[-1:])]))
    edit = network.replaying(maps, network.target)
    assert replay(edit, maps, residual=0.0).equal(replay(edit, without))
    halved = maps.replace(zs=torch.cat([maps.zs[:-1], 0.5 * maps.zs[-1:]]))
    assert replay(edit, maps, residual=0.5).equal(replay(edit, halved))


@pytest.mark.parametrize("prediction", FAMILIES)
def test_residual_0_is_plain_ddim(prediction):
    network, x_0 = PromptedNetwork(prediction), normal(*IMAGE)
    maps = ddim(network, x_0, network.schedule())
    plain = maps.replace(zs=torch.zeros_like(maps.zs))
    without = replay(network.replaying(maps), maps, residual=0.0)
    assert without.equal(replay(network.replaying(maps), plain))
    assert (without - x_0).abs().max() > 1e-3


def test_extraction_corrects_the_path_in_place():
    network, x_0 = PromptedNetwork("eps"), normal(*IMAGE)
    path = edit_friendly_path(x_0, network.schedule(), noise_for(x_0, network.schedule(), 7))
    before = path.clone()
    xs, _ = extract_noise_maps(network.denoise(1), path, network.schedule())
    assert xs is path
    assert path.allclose(before, atol=1e-5)


@pytest.mark.parametrize("prediction", FAMILIES)
def test_a_clamped_last_map_has_that_norm_and_ends_beside_the_picture(prediction):
    network = PromptedNetwork(prediction)
    schedule, x_0 = network.schedule(), normal(*IMAGE)
    path = edit_friendly_path(x_0, schedule, noise_for(x_0, schedule, 7))
    _, free = extract_noise_maps(network.denoise(1), path, schedule)
    norms = free[-1].flatten(1).norm(dim=1)
    longest = norms.mean().item()  # between the two images'
    xs, zs = extract_noise_maps(network.denoise(1), path, schedule, 5, longest_last=longest)
    assert zs[:-1].allclose(free[:-1])
    assert zs[-1].flatten(1).norm(dim=1).allclose(norms.clamp(max=longest))
    maps = NoiseMaps(xs, zs, schedule)
    assert replay(network.denoise(1), maps).allclose(xs[-1])
    assert (xs[-1] - x_0).abs().max() > 1e-3


def test_the_last_map_is_measured_in_units_of_the_step_to_the_smallest_level():
    to_zero, to_least = (Schedule((3.0, 0.2, end), False, 1.0) for end in (0.0, 0.03))
    assert longest_last_map(to_zero, 15.5, 0.03) == 15.5 * to_least.steps[-1].std
    assert longest_last_map(to_least, 15.5, 0.03) == 15.5
    assert longest_last_map(to_zero, 15.5, 0.5) == 0


def test_a_last_map_of_no_length_is_none():
    network, x_0 = PromptedNetwork("eps"), normal(*IMAGE)
    path = edit_friendly_path(x_0, network.schedule(), noise_for(x_0, network.schedule(), 7))
    xs, zs = extract_noise_maps(network.denoise(1), path, network.schedule(), longest_last=0.0)
    assert not zs[-1].any()
    assert xs.isfinite().all()


@pytest.mark.parametrize(("batch_timesteps", "reported"), [(1, range(1, 13)), (5, [5, 10, 12])])
def test_extraction_reports_what_it_has_done(batch_timesteps, reported):
    network, x_0, seen = PromptedNetwork("eps"), normal(*IMAGE), []
    path = edit_friendly_path(x_0, network.schedule(), noise_for(x_0, network.schedule(), 7))
    xs, _ = extract_noise_maps(
        network.denoise(1),
        path,
        network.schedule(),
        batch_timesteps,
        on_step=lambda i, x, denoised: seen.append((i, x.clone())),
    )
    assert [i for i, _ in seen] == list(reported)
    assert all(x.equal(xs[i]) for i, x in seen)


def test_replay_counts_the_steps_that_are_left():
    network, seen = PromptedNetwork("eps"), []
    maps = ddpm(network, normal(*IMAGE), network.schedule())
    replay(network.replaying(maps), maps, 9, on_step=lambda i, x, denoised: seen.append(i))
    assert seen == [1, 2, 3]


def test_grey_mask_does_not_compound_over_steps():
    # The target departs from the source in its first step alone: a mask of 0.5 must halve the
    # departure once, however many steps carry it on.
    x_0, schedule = normal(*IMAGE), Schedule(falling()[:6], False, 0.3)
    top = torch.tensor(schedule.sigmas[0], dtype=torch.float64)

    class Black(PromptedNetwork):
        def denoised(self, x, sigma, prompt):
            return torch.zeros_like(x)

    def departing(x, sigma):
        return torch.full_like(x, 0.8) if sigma[0] == top else torch.zeros_like(x)

    maps = ddpm(Black("eps"), x_0, schedule, eta=0.3)
    white = replay(departing, maps) - maps.xs[-1]
    grey = replay(departing, maps, mask=torch.full_like(x_0, 0.5)) - maps.xs[-1]
    assert white.abs().min() > 1e-3
    assert (grey - 0.5 * white).abs().max() < 1e-9
