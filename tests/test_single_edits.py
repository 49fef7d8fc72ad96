"""What each edit does to a bundle, and what it refuses."""

import pytest
import torch
from all_edits import ALL, EDITS, SOME, SQUARE, STEPS, WIDE, colour_of, fresh, made, other_of
from imprint_pack.inversion.edits import (
    amplify,
    blend,
    mix,
    push_colour,
    renoise_freely,
    renoise_path,
    rotate,
    shift,
)
from imprint_pack.inversion.schedule import Schedule
from problems import departure, falling, same


@pytest.mark.parametrize("factor", [0.5, 1.7, 3.0])
def test_gain_multiplies_the_maps_and_its_inverse_returns_the_bundle(factor):
    maps, _ = made((1, 4, 8, 8))
    amplified = amplify(maps, factor, ALL)
    assert amplified.zs.equal(factor * maps.zs)
    back = amplify(amplified, 1 / factor, ALL)
    for found, expected in ((back.xs, maps.xs), (back.zs, maps.zs)):
        assert (found - expected).norm() <= 1e-6 * expected.norm()


def test_mix_of_1_returns_the_other_bundle():
    maps, _ = made(WIDE)
    other, _ = other_of(maps)
    assert same(mix(maps, other, 1.0), other)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("colour", lambda maps: push_colour(maps, colour_of(maps), 0.05, ALL)),
        ("variation", EDITS["variation"]),
        ("free", EDITS["free"]),
    ],
)
def test_steps_without_noise_keep_their_residual(name, edit):
    maps, _ = made(SQUARE)
    edited = edit(maps)
    assert maps.schedule.noisy_steps == list(range(STEPS - 1))
    assert edited.zs[-1].equal(maps.zs[-1])
    assert all(not edited.zs[i].equal(maps.zs[i]) for i in range(STEPS - 1))


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_variation_keeps_the_image_and_the_strength_of_its_noise(amount, eta):
    maps, _ = made((1, 4, 64, 64), eta=eta)
    varied = renoise_path(maps, amount, fresh(maps), ALL)
    for i, sigma in enumerate(maps.schedule.sigmas):
        if sigma > 0.5:
            noise = (varied.xs[i] - maps.xs[-1]) / sigma
            assert noise.square().mean().sqrt() == pytest.approx(1, abs=0.05)
    assert varied.xs[-1].equal(maps.xs[-1])


def test_mix_lies_between_its_parents_and_keeps_the_strength_of_the_noise():
    maps, _ = made((2, 4, 64, 64))
    other, _ = other_of(maps)
    mixed = mix(maps, other, 0.3)
    assert (mixed.xs[-1] - torch.lerp(maps.xs[-1], other.xs[-1], 0.3)).abs().max() < 1e-6
    for i, sigma in enumerate(maps.schedule.sigmas[:-1]):
        one, two, both = (
            ((m.xs[i] - m.xs[-1]) / sigma).square().flatten(1).mean(1) for m in (maps, other, mixed)
        )
        assert (both / torch.lerp(one, two, 0.3) - 1).abs().max() < 1e-3


def test_free_renoising_brings_white_maps():
    maps, _ = made((1, 4, 64, 64))
    freed = renoise_freely(maps, 1.0, fresh(maps), ALL)
    assert freed.zs[:-1].flatten(1).square().mean(1).sub(1).abs().max() < 0.05
    assert freed.zs[:-1].equal(fresh(maps)[1:-1])


def test_colour_moves_the_maps_by_what_is_missing():
    maps, denoised = made(SQUARE)
    pushed = push_colour(maps, colour_of(maps), 0.05, SOME)
    moved = (pushed.zs - maps.zs)[SOME.start : SOME.stop]
    expected = 0.05 * (colour_of(maps) - denoised[SOME.start : SOME.stop])
    assert (moved - expected).abs().max() < 1e-4


@pytest.mark.parametrize("fill", ["reflect", "wrap", "resample"])
@pytest.mark.parametrize(("x", "y"), [(3, 0), (-3, 0), (0, 2), (2, -1), (-8, 5)])
def test_shift_moves_the_picture(fill, x, y):
    maps, _ = made(WIDE)
    before, after = maps.xs, shift(maps, x, y, fill, (0.5, 0.5)).xs
    inner = after[..., max(y, 0) : 6 + min(y, 0), max(x, 0) : 9 + min(x, 0)]
    assert inner.equal(before[..., max(-y, 0) : 6 + min(-y, 0), max(-x, 0) : 9 + min(-x, 0)])
    if fill == "wrap":
        assert after.equal(before.roll((y, x), (-2, -1)))


@pytest.mark.parametrize(("x", "edge"), [(3, slice(3)), (-3, slice(6, 9))])
def test_reflected_shift_mirrors_the_edge(x, edge):
    maps, _ = made(WIDE)
    shifted = shift(maps, x, 0, "reflect", (0, 0)).xs
    assert shifted[..., edge].equal(maps.xs[..., edge].flip(-1))


@pytest.mark.parametrize("place", [0.0, 0.6, 0.999])
def test_resampled_shift_fills_with_one_piece_of_the_same_maps(place):
    maps, _ = made(WIDE)
    shifted = shift(maps, -4, 0, "resample", (place, 0))
    start = int(place * 6)
    assert shifted.xs[..., -4:].equal(maps.xs[..., start : start + 4])
    assert shifted.zs[..., -4:].equal(maps.zs[..., start : start + 4])


def test_rotate_turns_clockwise():
    maps, _ = made(WIDE)
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
            "Steps 99 to 99 .* add no noise that could carry a colour: connect the noise maps of E",
        ),
        (
            lambda maps: renoise_path(maps, 0.5, maps.xs, range(7, 8)),
            "step 7 alone changes nothing: set first_step lower or last_step higher",
        ),
    ],
)
def test_what_cannot_be_edited_is_named(edit, message):
    maps, _ = made(WIDE)
    with pytest.raises(ValueError, match=message):
        edit(maps)


def changed(maps, **schedule):
    """The bundle as if it had been made with another schedule."""
    given = {"sigmas": maps.schedule.sigmas, "flow": False, "eta": 1.0, **schedule}
    return maps.replace(schedule=Schedule(**given))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda maps: maps.replace(skipped=3), r"differ in skipped steps \(0 and 3\): invert both"),
        (lambda maps: changed(maps, eta=0.5), r"in eta \(1.0 and 0.5\)"),
        (lambda maps: rotate(maps, 1), r"in latent shape \(\(1, 4, 6, 9\) and"),
        (lambda maps: maps.replace(latent_format="SDXL"), r"latent format \(unknown and SDXL\)"),
        (
            lambda maps: changed(maps, sigmas=(15.0, *maps.schedule.sigmas[1:])),
            r"in sigmas \(\(14.6, .* and \(15.0, ",
        ),
        (
            lambda maps: changed(maps, sigmas=falling(STEPS, flow=True), flow=True),
            r"in model family \(not flow and flow\)",
        ),
        (
            lambda maps: maps.replace(
                xs=maps.xs[1:], zs=maps.zs[1:], schedule=maps.schedule.after(1)
            ),
            r"in steps \(100 and 99\)",
        ),
    ],
)
def test_pictures_that_were_not_inverted_alike_are_not_mixed(other, message):
    maps, _ = made(WIDE)
    with pytest.raises(ValueError, match=message):
        mix(maps, other(maps), 0.5)


@pytest.mark.parametrize(
    "null_text",
    [{"uncond": torch.zeros(STEPS, 1, 2, 3)}, {"uncond_pooled": torch.zeros(1, 3)}],
    ids=["tokens", "pooled"],
)
def test_null_text_on_either_side_is_not_mixed(null_text):
    maps, _ = made(WIDE)
    fitted = maps.replace(**null_text)
    for pair in ((maps, fitted), (fitted, maps)):
        with pytest.raises(ValueError, match="connect noise maps from before Null-Text Optimize"):
            mix(*pair, 0.5)


def test_colour_on_a_bundle_without_noise_is_refused():
    maps, _ = made(SQUARE, eta=0.0)
    with pytest.raises(ValueError, match="connect the noise maps of EF-DDPM Invert"):
        push_colour(maps, colour_of(maps), 0.05, ALL)


def test_variation_of_a_bundle_without_noise_redraws_all_of_it():
    maps, denoised = made(SQUARE, eta=0.0)
    assert departure(renoise_path(maps, 0.5, fresh(maps), ALL), denoised) <= 1e-5
    with pytest.raises(ValueError, match=r"are steps 20 to 60, but .*: set first_step to 0 and"):
        renoise_path(maps, 0.5, fresh(maps), SOME)


@pytest.mark.parametrize(
    "edit",
    [
        lambda maps: renoise_path(maps, 0.5, fresh(maps), range(97)),
        lambda maps: renoise_freely(maps, 0.5, fresh(maps), range(97)),
        lambda maps: mix(maps, maps, 0.5),
    ],
    ids=["variation", "free", "mix"],
)
def test_a_path_that_ends_above_0_has_no_picture(edit):
    maps, _ = made(SQUARE, sigmas=falling(STEPS)[:-3])
    with pytest.raises(ValueError, match=r"end at sigma .*, before the image is clean: invert wit"):
        edit(maps)
