"""The bundle is valid by construction: a wrong one is refused with its reason."""

import copy
import pickle

import pytest
import torch
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.schedule import Schedule
from methods import ddpm
from problems import IMAGE, STEPS, PromptedNetwork, falling, normal, same


@pytest.fixture(scope="module")
def maps() -> NoiseMaps:
    network = PromptedNetwork("eps")
    return ddpm(network, normal(*IMAGE), network.schedule())


def test_a_replaced_field_leaves_the_others_and_the_original_alone(maps):
    changed = maps.replace(skipped=3, cfg=None)
    assert (changed.skipped, changed.cfg, changed.latent_format) == (3, None, "unknown")
    assert changed.xs is maps.xs
    assert (maps.skipped, maps.cfg) == (0, 3.5)


def test_a_description_adds_to_the_one_there_is(maps):
    described = maps.with_info(method="any", seed=1).with_info(seed=2)
    assert described.info == {"method": "any", "seed": 2}
    assert maps.info == {}
    assert same(described.replace(info={}), maps)


def test_for_a_loop_both_parts_take_the_precision_of_a_tensor(maps):
    moved = maps.to(torch.zeros(1))
    assert moved.xs.equal(maps.xs.float())
    assert moved.zs.equal(maps.zs.float())
    assert moved.schedule is maps.schedule


def test_copies_and_pickles_are_the_same(maps):
    for again in (copy.copy(maps), copy.deepcopy(maps), pickle.loads(pickle.dumps(maps))):
        assert isinstance(again, NoiseMaps)
        assert same(again, maps)


@pytest.mark.parametrize("field", ["xs", "zs"])
def test_values_that_are_no_latents_are_named(maps, field):
    with pytest.raises(ValueError, match=r"no decimal numbers \(.* values of torch.int64\): inv"):
        maps.replace(**{field: getattr(maps, field).long()})


def test_no_values_are_named(maps):
    with pytest.raises(ValueError, match=r"are empty .*\(0 values of torch.float64\): invert the"):
        maps.replace(xs=maps.xs[:, :0], zs=maps.zs[:, :0])


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        ({"zs": torch.zeros(STEPS, 2, 4, 6, 6)}, r"\(13, 2, 4, 6, 5\) and maps \(12, 2, 4, 6, 6\)"),
        ({"zs": torch.zeros(STEPS, 1, 4, 6, 5)}, r"\(13, 2, 4, 6, 5\) and maps \(12, 1, 4, 6, 5\)"),
        ({"xs": torch.zeros(STEPS, 2, 4, 6, 5)}, r"\(12, 2, 4, 6, 5\) and maps \(12, 2, 4, 6, 5\)"),
        ({"xs": torch.zeros(STEPS + 1, 4, 5), "zs": torch.zeros(STEPS, 4, 5)}, r"\(13, 4, 5\)"),
    ],
)
def test_parts_of_other_sizes_are_named(maps, changes, shapes):
    with pytest.raises(ValueError, match=rf"latents {shapes}.* for 12 steps, which do not belong"):
        maps.replace(**changes)


def test_maps_for_another_schedule_are_named(maps):
    with pytest.raises(ValueError, match=r"for 11 steps, which do not belong together: invert"):
        maps.replace(schedule=Schedule(falling()[1:], False, 1.0))


@pytest.mark.parametrize(("field", "name"), [("xs", "latents"), ("zs", "maps")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named_with_their_step(maps, field, name, value):
    damaged = getattr(maps, field).clone()
    damaged[3, 0, 0, 0, 0] = damaged[5, 1, 0, 0, 0] = value
    message = f"NaN or infinite values at step 3 of the {name} .sigma .*: invert"
    with pytest.raises(ValueError, match=message):
        maps.replace(**{field: damaged})


@pytest.mark.parametrize(
    "uncond",
    [
        torch.zeros(STEPS - 1, 2, 2, 3),
        torch.zeros(STEPS, 2, 6),
        torch.zeros(STEPS, 2, 0, 3),
        torch.full((STEPS, 2, 2, 3), float("nan")),
    ],
    ids=["steps", "dimensions", "tokens", "nan"],
)
def test_null_text_that_does_not_fit_is_named(maps, uncond):
    with pytest.raises(ValueError, match=r"for each of 12 steps, or holds NaN: run Null-Text"):
        maps.replace(uncond=uncond)
