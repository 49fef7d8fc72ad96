"""Edits of the demo world: one kind of change in a caption, and the picture it should give.

Everything that the caption does not name stays: places, rotation, light, textures, the bystander.
An edit never asks for a pair of colour and shape that is held out from training, nor for two things
alike.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .world import (
    BIG,
    COLOURS,
    GROUNDS,
    SHAPES,
    SMALL,
    UNNAMED,
    Worlds,
    draw_worlds,
    is_held_out,
    render,
)

Edit = tuple[Worlds, Worlds, Tensor]
_NAMES = {"colour": COLOURS, "shape": SHAPES}


class EditTasks(NamedTuple):
    """Worlds before and after an edit; `captions` of them are source and target prompt.

    `edited` (batch, 2) says which things the edit is about. `may_change` (batch, 32, 32) is 1 where
    source and ideal picture differ and on all of the edited things, 0 on what a perfect edit keeps.
    """

    source: Worlds
    target: Worlds
    source_image: Tensor
    ideal_image: Tensor
    edited: Tensor
    may_change: Tensor


def edit_tasks(kind: str, count: int, generator: torch.Generator) -> EditTasks:
    """`count` random edits of one of KINDS.

    "two words" changes the colour of one thing and the shape of the other, "size" a word of size
    into its opposite.
    """
    worlds = draw_worlds(count, generator)
    worlds = worlds._replace(present=torch.ones_like(worlds.present))
    chosen = torch.randint(2, (count,), generator=generator)
    return _drawn(*_EDITS[kind](worlds, chosen, generator))


def _is(chosen: Tensor) -> Tensor:
    """Which of two things is the chosen one, (batch, 2)."""
    return torch.arange(2) == chosen[:, None]


def _other_word(attribute: str, worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    return worlds, _with_other_word(worlds, attribute, chosen, generator), _is(chosen)


def _two_words(worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    target = _with_other_word(worlds, "colour", chosen, generator)
    target = _with_other_word(target, "shape", 1 - chosen, generator)
    return worlds, target, torch.ones_like(worlds.present)


def _other_ground(worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    other = torch.randint(1, len(GROUNDS), (len(chosen),), generator=generator)
    ground = (worlds.ground + other) % len(GROUNDS)
    return worlds, worlds._replace(ground=ground), torch.zeros_like(worlds.present)


def _add(worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    with_both, with_one, edited = _remove(worlds, chosen, generator)
    return with_one, with_both, edited


def _remove(worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    del generator  # only a thing is drawn, not a word
    return worlds, worlds._replace(present=~_is(chosen)), _is(chosen)


def _opposite_size(worlds: Worlds, chosen: Tensor, generator: torch.Generator) -> Edit:
    thing = _is(chosen)
    big = torch.rand(len(chosen), 1, generator=generator) < 0.5
    rest = torch.where(worlds.size == BIG, UNNAMED, worlds.size)
    source = worlds._replace(size=torch.where(thing, torch.where(big, BIG, SMALL), rest))
    target = worlds._replace(size=torch.where(thing, torch.where(big, SMALL, BIG), rest))
    return source, target, thing


def _with_other_word(
    worlds: Worlds, attribute: str, chosen: Tensor, generator: torch.Generator
) -> Worlds:
    """Another colour or shape for the `chosen` thing (batch,) of each world."""
    rows, names = torch.arange(len(chosen)), ("colour", "shape")
    mine = torch.stack([getattr(worlds, name)[rows, chosen] for name in names], -1)
    others = torch.stack([getattr(worlds, name)[rows, 1 - chosen] for name in names], -1)
    column, words = names.index(attribute), torch.arange(len(_NAMES[attribute]))
    wanted = mine[:, None, :].repeat(1, len(words), 1)  # (batch, words, 2)
    wanted[..., column] = words
    possible = (words != mine[:, None, column]) & (wanted != others[:, None, :]).any(-1)
    possible &= ~is_held_out(wanted)
    word = (torch.rand(possible.shape, generator=generator) * possible).argmax(1)
    changed = getattr(worlds, attribute).clone()
    changed[rows, chosen] = word
    return worlds._replace(**{attribute: changed})


def _drawn(source: Worlds, target: Worlds, edited: Tensor) -> EditTasks:
    (source_image, masks), (ideal_image, masks_after) = render(source), render(target)
    touched = (torch.maximum(masks, masks_after) * edited[:, :, None, None] > 0).any(1)
    may_change = touched | ((source_image - ideal_image).abs() > 1e-5).any(-1)  # beyond rounding
    return EditTasks(source, target, source_image, ideal_image, edited, may_change.float())


# Each is (worlds, chosen things (batch,), generator) -> source, target, edited things.
_EDITS = {
    "colour": partial(_other_word, "colour"),
    "shape": partial(_other_word, "shape"),
    "ground": _other_ground,
    "add": _add,
    "remove": _remove,
    "two words": _two_words,
    "size": _opposite_size,
}
KINDS = tuple(_EDITS)
