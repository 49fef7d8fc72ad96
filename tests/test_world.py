"""The demo world: captions, pictures and edits that say the same."""

import importlib
import re

import pytest
import torch

world = importlib.import_module("imprint_pack.demo.world")
tasks = importlib.import_module("imprint_pack.demo.tasks")

THING = f"a (?:(?:small|big) )?({'|'.join(world.COLOURS)}) ({'|'.join(world.SHAPES)})"
CAPTION = re.compile(f"{THING}(?: and {THING})? on ({'|'.join(world.GROUNDS)})")
COUNT = 256


def draw(count=COUNT, seed=0, **kwargs):
    return world.draw_worlds(count, torch.Generator().manual_seed(seed), **kwargs)


def both(worlds):
    return worlds._replace(present=torch.ones_like(worlds.present))


def pairs(worlds):
    """Rows of colour and shape, (batch, 2 things, 2)."""
    return torch.stack([worlds.colour, worlds.shape], -1)


def is_held_out(looks):
    return (looks[..., None, :] == world.HELD_OUT_PAIRS).all(-1).any(-1)


def test_same_seed_draws_the_same_pictures():
    assert world.render(draw())[0].equal(world.render(draw())[0])
    assert not world.render(draw())[0].equal(world.render(draw(seed=1))[0])


def test_a_picture_does_not_depend_on_its_neighbours():
    worlds = draw()
    alone = type(worlds)(*(values[5:6] for values in worlds))
    assert world.render(alone)[0].equal(world.render(worlds)[0][5:6])


def test_captions_follow_one_grammar_and_name_what_is_present():
    worlds = draw()
    texts = world.captions(worlds)
    assert all(CAPTION.fullmatch(text) for text in texts)
    assert [" and " in text for text in texts] == worlds.present.all(1).tolist()
    assert 0.1 < 1 - worlds.present.all(1).float().mean() < 0.4
    assert worlds.present.any(1).all()


def test_pictures_are_in_range_and_masks_show_what_is_present():
    worlds = draw()
    image, masks = world.render(worlds)
    assert image.shape == (COUNT, 32, 32, 3)
    assert masks.shape == (COUNT, 2, 32, 32)
    assert image.min() >= 0
    assert image.max() <= 1
    assert ((masks > 0.5).sum((2, 3)) > 12).equal(worlds.present)


def test_things_never_touch():
    _, masks = world.render(both(draw(4096)))
    assert (masks[:, 0] * masks[:, 1]).sum((1, 2)).max() < 1


def test_two_things_are_never_alike_but_may_share_a_word():
    looks = pairs(draw(4096))
    shared = (looks[:, 0] == looks[:, 1]).float()
    assert shared.all(1).sum() == 0
    assert (shared.mean(0) > 0.05).all()


def test_held_out_pairs_are_drawn_only_on_request():
    assert len(world.HELD_OUT_PAIRS) == 3
    assert len(world.SEEN_PAIRS) == 21
    assert not is_held_out(pairs(draw(4096))).any()
    assert is_held_out(pairs(draw(pairs=world.HELD_OUT_PAIRS))).all()


def test_words_of_size_order_the_areas():
    worlds = both(draw())
    areas = []
    for size in range(len(world.SIZES)):
        sizes = torch.full_like(worlds.size, size)
        areas.append(world.render(worlds._replace(size=sizes))[1].sum((2, 3)))
    small, middle, big = areas
    assert (1.3 * small < middle).all()
    assert (1.2 * middle < big)[:, 1].all()  # the first may be covered by the second


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_an_edit_changes_what_its_mask_allows_and_nothing_else(kind):
    task = tasks.edit_tasks(kind, COUNT, torch.Generator().manual_seed(0))
    kept = task.may_change == 0
    assert (task.source_image[kept] - task.ideal_image[kept]).abs().max() < 1e-4
    assert (task.source_image != task.ideal_image).flatten(1).any(1).all()
    assert kept.flatten(1).any(1).all()
    assert task.source.unnamed.equal(task.target.unnamed)
    sources, targets = world.captions(task.source), world.captions(task.target)
    assert all(a != b for a, b in zip(sources, targets, strict=True))


@pytest.mark.parametrize(
    ("kind", "words"), [("colour", 1), ("shape", 1), ("ground", 1), ("two words", 2), ("size", 1)]
)
def test_an_edit_replaces_as_many_words_as_it_says(kind, words):
    task = tasks.edit_tasks(kind, COUNT, torch.Generator().manual_seed(0))
    for texts in zip(world.captions(task.source), world.captions(task.target), strict=True):
        before, after = (text.split() for text in texts)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == words


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_an_edit_leaves_the_other_thing_alone(kind):
    task = tasks.edit_tasks(kind, COUNT, torch.Generator().manual_seed(0))
    others = ~task.edited
    for before, after in zip(task.source[:4], task.target[:4], strict=True):
        assert before[others].equal(after[others])


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_an_edit_asks_for_nothing_unseen_and_no_two_alike(kind):
    target = tasks.edit_tasks(kind, 1024, torch.Generator().manual_seed(0)).target
    looks = pairs(target)
    assert not is_held_out(looks).any()
    assert not (looks[:, 0] == looks[:, 1]).all(1).any()
    assert not (target.size == world.BIG).all(1).any()
