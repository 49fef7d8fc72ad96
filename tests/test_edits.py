import pytest
import torch
from imprint_pack.inversion import (
    blend,
    flip,
    gain,
    mix,
    push_colour,
    recover_denoised,
    renoise_freely,
    renoise_path,
    replay,
    rotate,
    shift,
)
from problems import RandomNetwork, normal
from test_ddpm import invert

STEPS = 100  # as long as the paper's schedule: rounding adds up over steps
FALLING = [14.6 * (1 - i / STEPS) ** 3 for i in range(STEPS + 1)]
ALL, SOME = range(STEPS), range(20, 61)
SHAPES = {"image": (2, 4, 6, 9), "video": (1, 4, 3, 6, 9)}


def made(shape, *, sigmas=FALLING, eta=1.0, flow=False, seed=0, dtype=torch.float32):
    """A bundle of a random picture by a random network, and what the network answered."""
    x_0 = normal(*shape, seed=seed, dtype=dtype)
    denoise = RandomNetwork("flow" if flow else "v")
    maps = invert(denoise, x_0, sigmas, eta, flow, seed=seed + 7)
    levels = [x_0.new_full((len(x_0),), sigma) for sigma in sigmas[:-1]]
    answers = [denoise(x, level) for x, level in zip(maps.xs[:-1], levels, strict=True)]
    return maps, torch.stack(answers)


def fresh(maps, seed=3):
    return normal(*maps.xs.shape, seed=seed, dtype=maps.xs.dtype)


def other_of(maps):
    shape = maps.xs.shape[1:]
    return made(
        shape, sigmas=maps.sigmas, flow=maps.flow, eta=maps.eta, seed=5, dtype=maps.xs.dtype
    )


def mixed_answers(maps, answers):
    return torch.lerp(answers, other_of(maps)[1], 0.3)


def colour_of(maps):
    return torch.full_like(maps.xs[0], 0.7)


# By name: the edit, and what it makes of the network's answers (nothing, where none is given).
GEOMETRY = {
    "shift by reflect": lambda maps: shift(maps, 2, -1, "reflect", (0, 0)),
    "shift by wrap": lambda maps: shift(maps, -3, 2, "wrap", (0, 0)),
    "shift by resample": lambda maps: shift(maps, 4, 3, "resample", (0.4, 0.9)),
    "flip": lambda maps: flip(maps, -1),
    "rotate": lambda maps: rotate(maps, 1),
}
REPLAYED = {
    "gain": lambda maps: gain(maps, 1.3, SOME),
    "gain of all": lambda maps: gain(maps, 0.8, ALL),
    "colour": lambda maps: push_colour(maps, colour_of(maps), 0.05, SOME),
    "variation": lambda maps: renoise_path(maps, 0.6, fresh(maps), ALL),
    "variation of some": lambda maps: renoise_path(maps, 1.0, fresh(maps), SOME),
    "free": lambda maps: renoise_freely(maps, 0.5, fresh(maps), ALL),
    "free of some": lambda maps: renoise_freely(maps, 1.0, fresh(maps), SOME),
}
MIXED = {"mix": lambda maps: mix(maps, other_of(maps)[0], 0.3)}
EDITS = GEOMETRY | REPLAYED | MIXED
KINDS = "shift by resample", "rotate", "gain", "colour", "variation", "free", "mix"


def answers_after(name, maps, answers):
    if name in GEOMETRY:
        return EDITS[name](maps._replace(xs=answers, zs=answers)).zs
    return mixed_answers(maps, answers) if name in MIXED else answers


def departure(maps, answers):
    """How far, relative to each latent, the bundle is from the step formula."""
    worst = 0.0
    for i, step in enumerate(maps.steps):
        expected = step.mean(maps.xs[i], answers[i]) + step.scale * maps.zs[i]
        worst = max(worst, ((expected - maps.xs[i + 1]).norm() / maps.xs[i + 1].norm()).item())
    return worst


def check(maps, answers):
    # A recovered x_0 divides by small steps: 1e-4 is what float32 leaves of it.
    assert departure(maps, answers) <= 1e-5
    assert (recover_denoised(maps) - answers).norm() <= 1e-4 * answers.norm()
    assert maps.xs.is_contiguous()
    assert maps.zs.is_contiguous()
    for skip in (0, 37):
        sigmas = list(maps.sigmas)

        def table(x, sigma, sigmas=sigmas):
            level = min(range(len(answers)), key=lambda i: abs(sigmas[i] - sigma[0].item()))
            return answers[level]

        walked = []
        replay(table, maps, skip, on_step=lambda i, x, denoised, walked=walked: walked.append(x))
        for x, expected in zip(walked, maps.xs[skip + 1 :], strict=True):
            assert (x - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("name", EDITS)
def test_edited_bundle_is_as_consistent_as_a_fresh_one(name, flow, shape):
    sigmas = [1 - i / STEPS for i in range(STEPS + 1)] if flow else FALLING
    maps, answers = made(SHAPES[shape], sigmas=sigmas, flow=flow)
    check(EDITS[name](maps), answers_after(name, maps, answers))


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_two_edits_in_a_row_leave_it_consistent(first, second):
    maps, answers = made((1, 4, 6, 6))
    edited, after = EDITS[first](maps), answers_after(first, maps, answers)
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
    back = there_and_back(maps)
    assert back.xs.equal(maps.xs)
    assert back.zs.equal(maps.zs)


@pytest.mark.parametrize("factor", [0.5, 1.7, 3.0])
def test_gain_and_its_inverse_return_the_bundle(factor):
    maps, _ = made((1, 4, 8, 8))
    back = gain(gain(maps, factor, ALL), 1 / factor, ALL)
    for found, expected in ((back.xs, maps.xs), (back.zs, maps.zs)):
        assert (found - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize(
    "nothing",
    [
        lambda maps: gain(maps, 1.0, ALL),
        lambda maps: push_colour(maps, colour_of(maps), 0.0, ALL),
        lambda maps: renoise_path(maps, 0.0, fresh(maps), ALL),
        lambda maps: renoise_freely(maps, 0.0, fresh(maps), ALL),
        lambda maps: mix(maps, other_of(maps)[0], 0.0),
        lambda maps: rotate(maps, 4),
        lambda maps: shift(maps, 9, -6, "wrap", (0, 0)),
    ],
)
def test_no_amount_is_the_identity(nothing):
    maps, _ = made((1, 4, 6, 9))
    assert nothing(maps).xs.equal(maps.xs)
    assert nothing(maps).zs.equal(maps.zs)


def test_mix_of_1_returns_the_other_bundle():
    maps, _ = made((1, 4, 6, 9))
    other, _ = other_of(maps)
    mixed = mix(maps, other, 1.0)
    assert mixed.xs.equal(other.xs)
    assert mixed.zs.equal(other.zs)


@pytest.mark.parametrize("name", EDITS)
def test_masks_limit_an_edit(name):
    maps, _ = made((1, 4, 6, 6))
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
    maps, answers = made((1, 4, 6, 6))
    mask = torch.rand(maps.xs.shape[1:], generator=torch.Generator().manual_seed(0))
    blended = blend(maps, EDITS[name](maps), mask)
    assert departure(blended, torch.lerp(answers, answers_after(name, maps, answers), mask)) <= 1e-5


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
    return maps._replace(xs=maps.xs[:, i : i + 1], zs=maps.zs[:, i : i + 1])


@pytest.mark.parametrize("name", EDITS)
def test_edits_leave_their_input_alone(name):
    maps, _ = made((1, 4, 6, 6))
    before = maps.xs.clone(), maps.zs.clone()
    edited = EDITS[name](maps)
    assert maps.xs.equal(before[0])
    assert maps.zs.equal(before[1])
    assert edited.xs.data_ptr() != maps.xs.data_ptr()
    assert not edited.zs.equal(maps.zs)


@pytest.mark.parametrize("name", [*GEOMETRY, *REPLAYED])
def test_edits_keep_an_optimised_embedding(name):
    maps, _ = made((1, 4, 6, 6))
    uncond, pooled = torch.ones(STEPS, 1, 2, 3), torch.ones(1, 3)
    edited = EDITS[name](maps._replace(uncond=uncond, uncond_pooled=pooled))
    assert edited.uncond is uncond
    assert edited.uncond_pooled is pooled


@pytest.mark.parametrize("name", ["colour", "variation", "free"])
def test_steps_without_noise_keep_their_residual(name):
    edit = {
        "colour": lambda maps: push_colour(maps, colour_of(maps), 0.05, ALL),
        "variation": EDITS["variation"],
        "free": EDITS["free"],
    }[name]
    maps, _ = made((1, 4, 6, 6))
    edited = edit(maps)
    assert maps.steps[-1].std == 0
    assert edited.zs[-1].equal(maps.zs[-1])
    assert all(not edited.zs[i].equal(maps.zs[i]) for i in range(STEPS - 1))


@pytest.mark.parametrize("name", ["gain", "colour", "variation of some", "free of some"])
def test_a_range_of_steps_leaves_the_other_maps_alone(name):
    maps, _ = made((1, 4, 6, 6))
    edited = EDITS[name](maps)
    for i in range(STEPS):
        assert edited.zs[i].equal(maps.zs[i]) == (i not in SOME)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_variation_keeps_the_strength_of_the_noise(amount, eta):
    maps, _ = made((1, 4, 64, 64), eta=eta)
    varied = renoise_path(maps, amount, fresh(maps), ALL)
    for i, sigma in enumerate(maps.sigmas):
        if sigma > 0.5:
            noise = (varied.xs[i] - maps.xs[-1]) / sigma
            assert noise.square().mean().sqrt() == pytest.approx(1, abs=0.05)
    assert varied.xs[-1].equal(maps.xs[-1])


def test_mix_lies_between_its_parents_and_keeps_the_strength_of_the_noise():
    maps, _ = made((2, 4, 64, 64))
    other, _ = other_of(maps)
    mixed = mix(maps, other, 0.3)
    assert (mixed.xs[-1] - torch.lerp(maps.xs[-1], other.xs[-1], 0.3)).abs().max() < 1e-6
    for i, sigma in enumerate(maps.sigmas[:-1]):
        squares = [
            ((m.xs[i] - m.xs[-1]) / sigma).square().flatten(1).mean(1) for m in (maps, other)
        ]
        found = ((mixed.xs[i] - mixed.xs[-1]) / sigma).square().flatten(1).mean(1)
        assert (found / torch.lerp(*squares, 0.3) - 1).abs().max() < 1e-3


def test_free_renoising_brings_white_maps():
    maps, _ = made((1, 4, 64, 64))
    freed = renoise_freely(maps, 1.0, fresh(maps), ALL)
    assert freed.zs[:-1].flatten(1).square().mean(1).sub(1).abs().max() < 0.05
    assert freed.zs[:-1].equal(fresh(maps)[1:-1])


def test_colour_moves_the_maps_by_what_is_missing():
    maps, answers = made((1, 4, 6, 6))
    pushed = push_colour(maps, colour_of(maps), 0.05, SOME)
    moved = (pushed.zs - maps.zs)[SOME.start : SOME.stop]
    expected = 0.05 * (colour_of(maps) - answers[SOME.start : SOME.stop])
    assert (moved - expected).abs().max() < 1e-4


@pytest.mark.parametrize("fill", ["reflect", "wrap", "resample"])
@pytest.mark.parametrize(("x", "y"), [(3, 0), (-3, 0), (0, 2), (2, -1), (-8, 5)])
def test_shift_moves_the_picture_and_fills_the_hole(fill, x, y):
    maps, _ = made((1, 4, 6, 9))
    before, after = maps.xs, shift(maps, x, y, fill, (0.5, 0.5)).xs
    inner = after[..., max(y, 0) : 6 + min(y, 0), max(x, 0) : 9 + min(x, 0)]
    assert inner.equal(before[..., max(-y, 0) : 6 + min(-y, 0), max(-x, 0) : 9 + min(-x, 0)])
    if fill == "wrap":
        assert after.equal(before.roll((y, x), (-2, -1)))


def test_reflected_shift_mirrors_the_edge():
    maps, _ = made((1, 4, 6, 9))
    shifted = shift(maps, 3, 0, "reflect", (0, 0)).xs
    assert shifted[..., :3].equal(maps.xs[..., :3].flip(-1))


@pytest.mark.parametrize("place", [0.0, 0.6, 0.999])
def test_resampled_shift_fills_with_one_piece_of_the_same_maps(place):
    maps, _ = made((1, 4, 6, 9))
    shifted = shift(maps, -4, 0, "resample", (place, 0))
    start = int(place * 6)
    assert shifted.xs[..., -4:].equal(maps.xs[..., start : start + 4])
    assert shifted.zs[..., -4:].equal(maps.zs[..., start : start + 4])


def test_rotate_turns_clockwise():
    maps, _ = made((1, 4, 6, 9))
    turned = rotate(maps, 1).xs
    assert turned.shape[-2:] == (9, 6)
    assert turned[..., 0, -1].equal(maps.xs[..., 0, 0])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda maps: shift(maps, 9, 0, "reflect", (0, 0)), "9 x 0 latent cells .* fill to wrap"),
        (lambda maps: shift(maps, 0, -6, "resample", (0, 0)), "0 x -6 latent cells"),
        (lambda maps: blend(maps, rotate(maps, 1), maps.xs[0]), "leave out the mask, or crop"),
        (
            lambda maps: push_colour(maps, maps.xs[0], 0.1, range(99, 100)),
            "Steps 99 to 99 .* add no noise to push a colour in",
        ),
        (
            lambda maps: renoise_path(maps, 0.5, maps.xs, range(7, 8)),
            "step 7 alone changes nothing: set last_step above it",
        ),
        (lambda maps: mix(maps, maps._replace(skipped=3), 0.5), r"in skipped steps \(0 and 3\)"),
        (lambda maps: mix(maps, maps._replace(eta=0.5), 0.5), r"in eta \(1.0 and 0.5\)"),
        (lambda maps: mix(maps, maps._replace(flow=True), 0.5), r"\(not flow and flow\)"),
        (lambda maps: mix(maps, rotate(maps, 1), 0.5), r"latent shape \(\(1, 4, 6, 9\) and"),
        (lambda maps: mix(maps, maps._replace(info={"latent_format": "SDXL"}), 0.5), "None and SD"),
        (
            lambda maps: mix(maps, maps._replace(sigmas=(15.0, *maps.sigmas[1:])), 0.5),
            r"in sigmas \(\(14.6, .* and \(15.0, ",
        ),
        (
            lambda maps: mix(maps, maps._replace(uncond=maps.xs), 0.5),
            "optimised unconditional embedding .* before the optimisation",
        ),
    ],
)
def test_what_cannot_be_edited_is_named(edit, message):
    maps, _ = made((1, 4, 6, 9))
    with pytest.raises(ValueError, match=message):
        edit(maps)


def test_colour_on_a_bundle_without_noise_is_refused():
    maps, _ = made((1, 4, 6, 6), eta=0.0)
    with pytest.raises(ValueError, match="colour needs an EF-DDPM bundle"):
        push_colour(maps, colour_of(maps), 0.05, ALL)


def test_variation_of_a_bundle_without_noise_redraws_all_of_it():
    maps, answers = made((1, 4, 6, 6), eta=0.0)
    assert departure(renoise_path(maps, 0.5, fresh(maps), ALL), answers) <= 1e-5
    with pytest.raises(ValueError, match="set first_step to 0 and last_step to -1"):
        renoise_path(maps, 0.5, fresh(maps), SOME)


@pytest.mark.parametrize("name", ["variation", "free", "mix"])
def test_a_path_that_ends_above_0_has_no_picture(name):
    maps, _ = made((1, 4, 6, 6), sigmas=FALLING[:-3])
    edit = {
        "variation": lambda: renoise_path(maps, 0.5, fresh(maps), range(97)),
        "free": lambda: renoise_freely(maps, 0.5, fresh(maps), range(97)),
        "mix": lambda: mix(maps, maps, 0.5),
    }[name]
    with pytest.raises(ValueError, match=r"end at sigma .*, before the image is clean"):
        edit()
