"""What every inversion method keeps: each test here runs over the whole list of `methods.py`."""

import pytest
import torch
from imprint_pack.inversion.file import read_noise_maps, write_noise_maps
from imprint_pack.inversion.schedule import Schedule
from imprint_pack.inversion.statistics import recover_denoised
from imprint_pack.inversion.walk import replay
from methods import METHODS, Method
from problems import (
    FAMILIES,
    IMAGE,
    STEPS,
    VIDEO,
    PromptedNetwork,
    answers,
    departure,
    normal,
    same,
)


@pytest.fixture(scope="module", params=METHODS, ids=str)
def method(request) -> Method:
    return request.param


@pytest.fixture(scope="module", params=FAMILIES)
def problem(request) -> PromptedNetwork:
    return PromptedNetwork(request.param)


@pytest.fixture(scope="module")
def maps(method, problem):
    """A picture inverted in double precision."""
    return method.invert(problem, normal(*IMAGE), problem.schedule(), 0)


@pytest.fixture(scope="module")
def maps32(method, problem):
    """The same in single precision, which bundles are kept in."""
    return method.invert(problem, normal(*IMAGE, dtype=torch.float32), problem.schedule(), 0)


def picture_of(maps, method, x_0):
    return maps.xs[-1] if method.draws else x_0


def test_replay_returns_the_image(method, problem, maps):
    picture = picture_of(maps, method, normal(*IMAGE))
    assert (replay(problem.replaying(maps), maps) - picture).abs().max() < 1e-9


def test_replay_returns_the_video(method, problem):
    maps = method.invert(problem, normal(*VIDEO), problem.schedule(), 0)
    picture = picture_of(maps, method, normal(*VIDEO))
    assert (replay(problem.replaying(maps), maps) - picture).abs().max() < 1e-9


def test_replay_in_float32_walks_the_same_path_to_the_last_bit(method, problem, maps32):
    walked = [maps32.xs[0]]
    replay(problem.replaying(maps32), maps32, on_step=lambda i, x, denoised: walked.append(x))
    assert torch.stack(walked[:-1]).equal(maps32.xs[:-1])
    # One rounding separates the end of the walk, the bundle's picture and the image.
    assert (walked[-1] - maps32.xs[-1]).abs().max() < 1e-5
    picture = picture_of(maps32, method, normal(*IMAGE, dtype=torch.float32))
    assert (maps32.xs[-1] - picture).abs().max() < 1e-5


@pytest.mark.parametrize("skip", [1, STEPS - 1])
def test_replay_from_a_later_step_returns_the_image(method, problem, maps, skip):
    picture = picture_of(maps, method, normal(*IMAGE))
    assert (replay(problem.replaying(maps), maps, skip) - picture).abs().max() < 1e-9


@pytest.mark.parametrize("sigmas", [(0.9, 0.0), (1.0, 0.4, 0.0)], ids=["one", "two"])
def test_a_schedule_of_few_steps_returns_the_image(method, problem, sigmas):
    x_0 = normal(*IMAGE)
    maps = method.invert(problem, x_0, Schedule(sigmas, problem.flow, 1.0), 0)
    picture = picture_of(maps, method, x_0)
    assert (replay(problem.replaying(maps), maps) - picture).abs().max() < 1e-9


def test_a_schedule_that_ends_above_0_returns_its_last_latent(method, problem):
    sigmas = problem.schedule().sigmas[:-2]
    maps = method.invert(problem, normal(*IMAGE), Schedule(sigmas, problem.flow, 1.0), 0)
    assert maps.xs[-1].isfinite().all()
    assert (replay(problem.replaying(maps), maps) - maps.xs[-1]).abs().max() < 1e-9


def test_item_alone_equals_the_item_in_a_batch(method, problem, maps):
    alone = method.invert(problem, normal(*IMAGE)[1:], problem.schedule(), 1)
    assert (maps.xs[:, 1:] - alone.xs).abs().max() < 1e-9
    assert (maps.zs[:, 1:] - alone.zs).abs().max() < 1e-9


def test_same_seed_gives_the_same_maps_and_leaves_the_image_alone(method, problem, maps):
    torch.randn(3)
    x_0 = normal(*IMAGE)
    again = method.invert(problem, x_0, problem.schedule(), 0)
    assert same(again, maps)
    assert x_0.equal(normal(*IMAGE))


def test_replay_leaves_the_maps_alone(problem, maps):
    before = maps.replace(xs=maps.xs.clone(), zs=maps.zs.clone())
    replay(problem.replaying(maps, problem.target), maps, mask=torch.ones_like(maps.xs[0]))
    assert same(maps, before)


class TestMask:
    """An edit to another prompt, limited by a mask."""

    @pytest.fixture
    def edit(self, problem, maps):
        def run(mask, skip=0):
            return replay(problem.replaying(maps, problem.target), maps, skip, mask=mask)

        return run

    @pytest.mark.parametrize("skip", [0, 4])
    def test_black_is_exactly_the_bundle(self, edit, maps, skip):
        assert edit(torch.zeros_like(maps.xs[0]), skip).equal(maps.xs[-1])

    def test_white_changes_nothing(self, edit, maps):
        assert (edit(torch.ones_like(maps.xs[0])) - edit(None)).abs().max() < 1e-9

    def test_half_keeps_one_half_and_edits_the_other(self, edit, maps):
        mask = torch.zeros_like(maps.xs[0])
        mask[..., :3] = 1
        edited = edit(mask)
        assert edited[..., 3:].equal(maps.xs[-1][..., 3:])
        assert (edited - maps.xs[-1])[..., :3].abs().max() > 0.1


def test_a_file_keeps_every_bit(maps32, tmp_path):
    described = maps32.replace(skipped=2, latent_format="SD15", info={"method": "any", "seed": 3})
    write_noise_maps(described, tmp_path / "maps.safetensors", {})
    assert same(read_noise_maps(tmp_path / "maps.safetensors"), described)


def test_every_step_of_the_bundle_is_the_models_own(problem, maps):
    assert departure(maps, answers(problem.replaying(maps), maps)) < 1e-12


def test_denoised_is_recovered_without_the_model(problem, maps):
    expected = answers(problem.replaying(maps), maps)
    assert (recover_denoised(maps) - expected).abs().max() < 1e-8
