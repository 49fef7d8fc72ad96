"""What holds for every edit: the edited bundle is as good as a fresh one."""

import pytest
import torch
from all_edits import (
    ALL,
    EDITS,
    GEOMETRY,
    MIXED,
    REPLAYED,
    SOME,
    SQUARE,
    STEPS,
    WIDE,
    answers_after,
    colour_of,
    fresh,
    made,
    other_of,
)
from imprint_pack.inversion.edits import (
    amplify,
    blend,
    flip,
    mix,
    push_colour,
    renoise_freely,
    renoise_path,
    rotate,
    shift,
)
from imprint_pack.inversion.statistics import recover_denoised
from imprint_pack.inversion.walk import replay
from problems import departure, same

SHAPES = {"image": (2, 4, 6, 9), "video": (1, 4, 3, 6, 9)}
KINDS = "shift by resample", "rotate", "gain", "colour", "variation", "free", "mix"


def check(maps, denoised):
    # A recovered x_0 divides by small steps: 1e-4 is what float32 leaves of it.
    assert departure(maps, denoised) <= 1e-5
    assert (recover_denoised(maps) - denoised).norm() <= 1e-4 * denoised.norm()
    assert maps.xs.is_contiguous()
    assert maps.zs.is_contiguous()
    for skip in (0, 37):
        for x, expected in zip(walk(maps, denoised, skip), maps.xs[skip + 1 :], strict=True):
            assert (x - expected).norm() <= 1e-5 * expected.norm()


def walk(maps, denoised, skip):
    """The latents of a replay by a model that gives each step its answer."""
    calls, walked = iter(denoised[skip:]), []
    replay(lambda x, sigma: next(calls), maps, skip, on_step=lambda i, x, d: walked.append(x))
    return walked


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("name", EDITS)
def test_edited_bundle_is_as_consistent_as_a_fresh_one(name, flow, shape):
    maps, denoised = made(SHAPES[shape], flow=flow)
    check(EDITS[name](maps), answers_after(name, maps, denoised))


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_two_edits_in_a_row_leave_it_consistent(first, second):
    maps, denoised = made(SQUARE)
    edited, after = EDITS[first](maps), answers_after(first, maps, denoised)
    check(EDITS[second](edited), answers_after(second, edited, after))


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda maps: flip(flip(maps, -1), -1),
        lambda maps: flip(flip(maps, -2), -2),
        lambda maps: rotate(rotate(rotate(rotate(maps, 1), 1), 1), 1),
        lambda maps: rotate(rotate(maps, 1), -1),
        lambda maps: shift(shift(maps, 5, -20, "wrap", (0, 0)), -5, 20, "wrap", (0, 0)),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_geometry_there_and_back_returns_the_bits(there_and_back, shape):
    maps, _ = made(SHAPES[shape])
    assert same(there_and_back(maps), maps)


@pytest.mark.parametrize(
    "nothing",
    [
        lambda maps: amplify(maps, 1.0, ALL),
        lambda maps: push_colour(maps, colour_of(maps), 0.0, ALL),
        lambda maps: renoise_path(maps, 0.0, fresh(maps), ALL),
        lambda maps: renoise_freely(maps, 0.0, fresh(maps), ALL),
        lambda maps: mix(maps, other_of(maps)[0], 0.0),
        lambda maps: rotate(maps, 4),
        lambda maps: shift(maps, 9, -6, "wrap", (0, 0)),
    ],
)
def test_no_amount_is_the_identity(nothing):
    maps, _ = made(WIDE)
    assert same(nothing(maps), maps)


@pytest.mark.parametrize("name", EDITS)
def test_masks_limit_an_edit(name):
    maps, _ = made(SQUARE)
    edited = EDITS[name](maps)
    half = torch.zeros_like(maps.xs[0])
    half[..., :3] = 1
    for field in ("xs", "zs"):
        before, after = getattr(maps, field), getattr(edited, field)
        black = getattr(blend(maps, edited, torch.zeros_like(half)), field)
        white = getattr(blend(maps, edited, torch.ones_like(half)), field)
        halved = getattr(blend(maps, edited, half), field)
        assert black.equal(before)
        assert white.equal(after)
        assert halved[..., :3].equal(after[..., :3])
        assert halved[..., 3:].equal(before[..., 3:])


@pytest.mark.parametrize("name", EDITS)
def test_soft_mask_keeps_the_bundle_consistent(name):
    maps, denoised = made(SQUARE)
    mask = torch.rand(maps.xs.shape[1:], generator=torch.Generator().manual_seed(0))
    blended, after = blend(maps, EDITS[name](maps), mask), answers_after(name, maps, denoised)
    assert departure(blended, torch.lerp(denoised, after, mask)) <= 1e-5


@pytest.mark.parametrize("name", [*GEOMETRY, "gain", "colour", "mix"])
def test_item_alone_equals_the_item_in_a_batch(name):
    maps, _ = made((3, 4, 6, 6))
    together = EDITS[name](maps)
    if name in MIXED:
        other, _ = other_of(maps)
        alone = mix(item(maps, 1), item(other, 1), 0.3)
    else:
        alone = EDITS[name](item(maps, 1))
    assert (together.xs[:, 1:2] - alone.xs).norm() <= 1e-6 * alone.xs.norm()
    assert (together.zs[:, 1:2] - alone.zs).norm() <= 1e-6 * alone.zs.norm()


def item(maps, i):
    return maps.replace(xs=maps.xs[:, i : i + 1], zs=maps.zs[:, i : i + 1])


@pytest.mark.parametrize("name", EDITS)
def test_edits_leave_their_input_alone(name):
    maps, _ = made(SQUARE)
    before = maps.replace(xs=maps.xs.clone(), zs=maps.zs.clone())
    edited = EDITS[name](maps)
    assert same(maps, before)
    assert edited.xs.data_ptr() != maps.xs.data_ptr()
    assert not edited.zs.equal(maps.zs)


@pytest.mark.parametrize("name", [*GEOMETRY, *REPLAYED])
def test_edits_keep_null_text(name):
    maps, _ = made(SQUARE)
    uncond, pooled = torch.ones(STEPS, 1, 2, 3), torch.ones(1, 3)
    edited = EDITS[name](maps.replace(uncond=uncond, uncond_pooled=pooled))
    assert edited.uncond is uncond
    assert edited.uncond_pooled is pooled


@pytest.mark.parametrize("name", ["gain", "colour", "variation of some", "free of some"])
def test_a_range_of_steps_leaves_the_other_maps_alone(name):
    maps, _ = made(SQUARE)
    edited = EDITS[name](maps)
    for i in range(STEPS):
        assert edited.zs[i].equal(maps.zs[i]) == (i not in SOME)
