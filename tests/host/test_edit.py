"""Noise Map Edit in a graph: what the sampler makes of edited maps, and what is refused."""

import pytest
import torch
from comfy import latent_formats

STEPS = 10


@pytest.fixture(scope="module")
def invert(node, demo):
    def run(latent=None, **settings):
        given = {"latent_image": latent or demo.latent, "steps": STEPS, "cfg": 1.0, "skip_steps": 0}
        with torch.inference_mode():
            return node("EFDDPMInvert", **demo.source, **given | settings)[0]

    return run


@pytest.fixture(scope="module")
def maps(invert):
    return invert()


@pytest.fixture
def edit(node):
    """An edit by its name in the menu; the operation's settings in the same call."""

    def run(maps, name, *, mask=None, first_step=0, last_step=-1, **settings):
        menu = {f"operation.{key}": value for key, value in settings.items()}
        where = {"mask": mask, "first_step": first_step, "last_step": last_step}
        return node("NoiseMapEdit", noise_maps=maps, operation=name, **menu, **where)[0]

    return run


@pytest.fixture
def sample(node, demo):
    def run(maps):
        wires = demo.source
        return node("InvertedSampler", **wires, noise_maps=maps, cfg=1.0)[0]["samples"]

    return run


@pytest.fixture
def settings(demo, maps):
    """Working settings of each operation."""
    return {
        "shift": {"x": 3, "y": -2, "fill": "resample", "variation": 1},
        "flip": {"axis": "vertical"},
        "rotate": {"turns": 1},
        "gain": {"gain": 1.1},
        "colour": {"target": demo.latent, "strength": 0.05},
        "renoise": {"kind": "variation", "amount": 0.5, "variation": 0},
        "mix": {"other": maps, "amount": 0.5},
    }


OPERATIONS = "shift", "flip", "rotate", "gain", "colour", "renoise", "mix"


def test_all_operations_of_the_menu_are_tested(nodes_by_id):
    menu = next(i for i in nodes_by_id["NoiseMapEdit"].GET_SCHEMA().inputs if i.id == "operation")
    assert tuple(option.key for option in menu.options) == OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_edits_are_sampled_and_named_in_the_bundle(edit, sample, maps, settings, name):
    edited = edit(maps, name, **settings[name])
    assert sample(edited).isfinite().all()
    assert [line.split(",")[0] for line in edited.info["edits"]] == [name]
    assert maps.info["edits"] == []
    twice = edit(edited, "flip", axis="horizontal")
    assert [line.split(",")[0] for line in twice.info["edits"]] == [name, "flip"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_black_mask_changes_nothing_and_white_all(edit, maps, settings, name):
    black = edit(maps, name, mask=torch.zeros(1, 64, 64), **settings[name])
    white = edit(maps, name, mask=torch.ones(1, 64, 64), **settings[name])
    assert black.xs.equal(maps.xs)
    assert black.zs.equal(maps.zs)
    assert white.zs.equal(edit(maps, name, **settings[name]).zs)


def test_shifted_maps_give_the_shifted_picture(edit, sample, invert, demo):
    # To the left, where pictures of this world may have a thing; to the right is its border.
    shifted = sample(edit(invert(skip_steps=5), "shift", x=-8, y=0, fill="wrap"))
    picture = demo.latent["samples"]
    moved, unmoved = (
        (shifted - expected).square().mean() for expected in (picture.roll(-8, -1), picture)
    )
    assert moved < 0.2 * unmoved


def test_colour_moves_the_picture_towards_its_target(edit, sample, maps, demo):
    target = {"samples": torch.tensor([-1.0, -1.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 9, 7)}
    pushed = sample(edit(maps, "colour", target=target, strength=0.2))
    change = (pushed - demo.latent["samples"]).mean((0, 2, 3))
    assert change[2] > 0.02
    assert change[0] < -0.02


def test_the_node_as_it_comes_moves_the_picture_of_every_model(node, nodes_by_id, maps):
    (moved,) = node("NoiseMapEdit", noise_maps=maps)
    assert not moved.zs.equal(maps.zs)
    menu = next(i for i in nodes_by_id["NoiseMapEdit"].GET_SCHEMA().inputs if i.id == "operation")
    pixels = next(i.default for i in menu.options[0].inputs if i.id == "x")
    kinds = [kind for kind in vars(latent_formats).values() if isinstance(kind, type)]
    cells = {kind.spacial_downscale_ratio for kind in kinds if hasattr(kind, "latent_channels")}
    assert len(cells) > 4
    assert all(round(pixels / cell) >= 1 for cell in cells)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.uint8, torch.bool], ids=str)
def test_masks_of_any_precision_are_taken(edit, maps, dtype):
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24] = 1
    expected = edit(maps, "flip", mask=mask, axis="horizontal")
    assert edit(maps, "flip", mask=mask.to(dtype), axis="horizontal").zs.equal(expected.zs)


def test_masked_flip_stays_inside_the_mask(edit, sample, maps, demo):
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24, 8:24] = 1
    flipped = sample(edit(maps, "flip", mask=mask, axis="horizontal"))
    change = (flipped - demo.latent["samples"]).abs().mean((0, 1))
    assert change[8:24, 8:24].mean() > 3 * change[:4].mean()


def test_variations_are_other_edits_of_the_same_image(edit, maps):
    one, two, again = (
        edit(maps, "renoise", kind="variation", amount=1.0, variation=number)
        for number in (1, 2, 1)
    )
    assert one.xs[-1].equal(maps.xs[-1])
    assert not one.zs.equal(two.zs)
    assert again.zs.equal(one.zs)


@pytest.mark.parametrize("name", OPERATIONS)
def test_batches_of_other_sizes_can_be_edited(edit, invert, sample, name, demo):
    wide = {"samples": torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0)) - 0.5}
    maps = invert(wide, steps=5)
    given = {
        "shift": {"x": 5, "y": 5, "fill": "reflect"},
        "flip": {"axis": "horizontal"},
        "rotate": {"turns": -1},
        "gain": {"gain": 0.9},
        "colour": {"target": demo.latent, "strength": 0.1},
        "renoise": {"kind": "free", "amount": 0.2},
        "mix": {"other": invert({"samples": -wide["samples"]}, steps=5), "amount": 0.4},
    }
    size = (40, 24) if name == "rotate" else (24, 40)
    assert sample(edit(maps, name, **given[name])).shape == (2, 3, *size)


def test_whole_cells_are_said_where_a_shift_is_rounded(edit, maps, caplog):
    """Latent cells of SD 1.5 are 8 pixels wide."""
    caplog.set_level("INFO")
    wide = {"xs": maps.xs[:, :, [0, 1, 2, 0]], "zs": maps.zs[:, :, [0, 1, 2, 0]]}
    shifted = edit(maps.replace(latent_format="SD15", **wide), "shift", x=13, y=0, fill="wrap")
    assert shifted.xs.equal(wide["xs"].roll(2, -1))
    assert "Shifted by 16 x 0 pixels, whole latent cells." in caplog.text


def test_steps_that_an_operation_ignores_are_said(edit, maps, caplog):
    caplog.set_level("INFO")
    edit(maps, "flip", axis="horizontal", first_step=3)
    assert "flip moves all steps: first_step and last_step are ignored" in caplog.text


def test_steps_limit_colour(edit, maps, settings):
    edited = edit(maps, "colour", first_step=5, last_step=7, **settings["colour"])
    changed = [i for i in range(STEPS) if not edited.zs[i].equal(maps.zs[i])]
    assert changed == [5, 6, 7]
    assert edited.info["edits"] == ["colour, strength 0.05, steps 5 to 7"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"operation": "melt"}, r"operation \({.operation.: .melt.}\): choose shift, flip"),
        ({"operation": "flip"}, "with all settings"),
        ({"operation": "flip", "axis": None}, "with all settings"),
        ({"operation": "flip", "axis": ["3", 0]}, "with all settings"),
        ({"operation": ["a"], "axis": "horizontal"}, "does not know this operation"),
        ({}, "does not know this operation"),
        ("melt", "with all settings"),
        (None, r"operation \(None\)"),
        (3, r"operation \(3\)"),
    ],
)
def test_unknown_operations_are_named(node, maps, operation, message):
    with pytest.raises(ValueError, match=message):
        node("NoiseMapEdit", noise_maps=maps, operation=operation)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "shift",
            {"x": 0, "y": 0},
            "0 x 0 pixels moves nothing, as latent cells are 1 pixels wide: set x or y to 1",
        ),
        ("shift", {"x": 32, "y": 0}, "moves all 32 x 32 out of the picture"),
        ("flip", {"first_step": 7, "last_step": 6}, "first_step is 7 and last_step is 6, but"),
        ("flip", {"last_step": 10}, "hold steps 0 to 9: set first_step to 0 and last_step to -1"),
        ("colour", {"target": {"samples": torch.zeros(1, 4, 8, 8)}}, "VAE of the inverted image"),
        ("colour", {"target": {"samples": torch.zeros(0, 3, 8, 8)}}, "has no elements"),
        ("mix", {"other": {"samples": 0}}, "noise_maps holds a dict: connect"),
    ],
)
def test_wrong_settings_are_named(edit, maps, settings, name, given, message):
    with pytest.raises(ValueError, match=message):
        edit(maps, name, **settings[name] | given)


def test_maps_of_an_unknown_latent_format_cannot_be_moved_by_pixels(edit, maps, settings):
    strange = maps.replace(latent_format="logger")
    message = "hold logger latents, which this ComfyUI does not know: update ComfyUI, or invert ag"
    with pytest.raises(ValueError, match=message):
        edit(strange, "shift", **settings["shift"])
