"""The demo world as nodes: what is drawn, and how prompts become tokens."""

import pytest
import torch

TWO = {"other_shape": "square", "variation": 3}


def test_one_thing_is_drawn_as_it_comes(node):
    image, caption, mask, other_mask = node("DemoImage")
    assert caption == "a red circle on grass"
    assert image.shape == (1, 32, 32, 3)
    assert mask.shape == other_mask.shape == (1, 32, 32)
    assert mask.sum() > 30
    assert other_mask.sum() == 0


def test_a_second_thing_stands_beside_the_same_first_one(node):
    image, _, mask, _ = node("DemoImage", variation=3)
    both, caption, first, second = node("DemoImage", **TWO)
    assert caption == "a red circle and a blue square on grass"
    assert first.equal(mask)
    assert (first * second).max() == 0
    assert (image != both).any(-1).equal(second > 0)


@pytest.mark.parametrize("name", ["size", "other_size"])
def test_a_word_of_size_stands_in_the_caption_and_orders_areas(node, name):
    drawn = [node("DemoImage", **TWO, **{name: size}) for size in ("small", "unnamed", "big")]
    place = 0 if name == "size" else 1
    words = ["red circle", "blue square"]
    assert [f"a {size} {words[place]}" in caption for size, (_, caption, *_) in zip(
        ("small", "big"), drawn[::2], strict=True
    )] == [True, True]  # fmt: skip
    small, middle, big = (masks[place].sum() for _, _, *masks in drawn)
    assert small < middle < big


@pytest.mark.parametrize(
    ("things", "message"),
    [
        (
            {"other_shape": "circle", "other_colour": "red"},
            "Both things are a red circle: choose another other_colour or other_shape",
        ),
        (
            {"other_shape": "square", "size": "big", "other_size": "big"},
            "Two big things do not fit: set size or other_size",
        ),
    ],
)
def test_two_things_that_look_alike_or_overlap_are_refused(node, things, message):
    with pytest.raises(ValueError, match=message):
        node("DemoImage", **things)


def test_the_second_thing_may_look_like_the_first_while_it_is_not_there(node):
    _, caption, *_ = node("DemoImage", size="big", other_size="big", other_colour="red")
    assert caption == "a big red circle on grass"


def test_unknown_words_are_ignored_with_one_line(demo, caplog):
    known, longer = demo.prompt("a red circle on grass"), demo.prompt("a red shiny circle on grass")
    assert known[0][0].equal(longer[0][0])
    (line,) = caplog.messages
    assert "ignores words it does not know: shiny. Use a, and, on, small, big, red," in line


def test_the_order_of_words_counts(demo):
    one, other = (
        demo.prompt(f"a {first} circle and a {second} square on grass")[0][0]
        for first, second in (("red", "blue"), ("blue", "red"))
    )
    assert not torch.allclose(one.sum(1), other.sum(1), atol=1e-2)


@pytest.mark.parametrize("text", ["", "a " * 30, "(red:1.4) circle"])
def test_prompts_of_any_length_encode(demo, text):
    context = demo.prompt(text)[0][0]
    assert context.isfinite().all()
    assert context.shape[1] % 12 == 0
