"""Edits of the demo world: one kind of change in a caption, and the picture it should give.

Everything that the caption does not name stays: places, rotation, light, textures, the bystander.
An edit never asks for a pair of colour and shape that is held out from training, nor for two things
alike.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .world import BIG, COLOURS, GROUNDS, SHAPES, SMALL, UNNAMED, Worlds, draw_worlds, render
from .world import HELD_OUT_PAIRS as HELD_OUT

KINDS = ("colour", "shape", "ground", "add", "remove", "two words", "size")
_WORDS = {"colour": len(COLOURS), "shape": len(SHAPES)}


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
    thing = torch.arange(2) == chosen[:, None]  # (batch, 2), true for the edited one
    source, target, edited = worlds, worlds, thing
    if kind in _WORDS:
        target = _with_other_word(worlds, kind, chosen, generator)
    elif kind == "two words":
        target = _with_other_word(worlds, "colour", chosen, generator)
        target = _with_other_word(target, "shape", 1 - chosen, generator)
        edited = torch.ones_like(thing)
    elif kind == "ground":
        other = torch.randint(1, len(GROUNDS), (count,), generator=generator)
        target = worlds._replace(ground=(worlds.ground + other) % len(GROUNDS))
        edited = torch.zeros_like(thing)
    elif kind == "add":
        source = worlds._replace(present=~thing)
    elif kind == "remove":
        target = worlds._replace(present=~thing)
    elif kind == "size":
        big = torch.rand(count, 1, generator=generator) < 0.5
        rest = torch.where(worlds.size == BIG, UNNAMED, worlds.size)
        source = worlds._replace(size=torch.where(thing, torch.where(big, BIG, SMALL), rest))
        target = worlds._replace(size=torch.where(thing, torch.where(big, SMALL, BIG), rest))
    else:
        raise ValueError(f"{kind!r} is no kind of edit. Use one of {', '.join(KINDS)}.")
    return _drawn(source, target, edited)


def _with_other_word(
    worlds: Worlds, attribute: str, chosen: Tensor, generator: torch.Generator
) -> Worlds:
    """Another colour or shape for the `chosen` thing (batch,) of each world."""
    rows, names = torch.arange(len(chosen)), ("colour", "shape")
    mine = torch.stack([getattr(worlds, name)[rows, chosen] for name in names], -1)
    others = torch.stack([getattr(worlds, name)[rows, 1 - chosen] for name in names], -1)
    column, words = names.index(attribute), torch.arange(_WORDS[attribute])
    wanted = mine[:, None, :].repeat(1, len(words), 1)  # (batch, words, 2)
    wanted[..., column] = words
    held_out = (wanted[:, :, None, :] == HELD_OUT).all(-1).any(-1)
    possible = (words != mine[:, None, column]) & (wanted != others[:, None, :]).any(-1) & ~held_out
    word = (torch.rand(possible.shape, generator=generator) * possible).argmax(1)
    changed = getattr(worlds, attribute).clone()
    changed[rows, chosen] = word
    return worlds._replace(**{attribute: changed})


def _drawn(source: Worlds, target: Worlds, edited: Tensor) -> EditTasks:
    (source_image, masks), (ideal_image, masks_after) = render(source), render(target)
    touched = (torch.maximum(masks, masks_after) * edited[:, :, None, None] > 0).any(1)
    may_change = touched | ((source_image - ideal_image).abs() > 1e-5).any(-1)  # beyond rounding
    return EditTasks(source, target, source_image, ideal_image, edited, may_change.float())
