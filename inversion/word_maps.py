"""Where a picture shows a word: the mean of its cross-attention over layers and steps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .attention import Attend, Control, Layer, Moment, text_maps


class WordMaps:
    """Sums of the maps of the tokens at `positions`, in layers within `size`."""

    def __init__(self, positions: Sequence[int], size: int):
        self.positions, self.size = list(positions), size
        self.sums = dict[tuple[int, int], tuple[Tensor, int]]()  # by grid, with their number

    def empty(self) -> "WordMaps":
        """The same words, unseen."""
        return WordMaps(self.positions, self.size)

    def sees(self, layer: Layer) -> bool:
        return layer.kind in ("cross", "joint") and layer.within(self.size)

    def add(self, layer: Layer, maps: Tensor) -> None:
        """Takes the maps of a layer, (batch, heads, places, tokens)."""
        seen = maps[..., self.positions].mean(1).sum(2).detach()
        total, count = self.sums.get(layer.grid, (torch.zeros_like(seen), 0))
        self.sums[layer.grid] = total + seen, count + 1

    def mean(self, shape: Sequence[int]) -> Tensor:
        """The mean over layers and steps, (batch, 1, height, width) of this (height, width)."""
        if not self.sums:
            raise ValueError(
                f"The model has no attention to words at up to {self.size} x {self.size} places, "
                "where they are looked for: raise size, or leave blend_words empty."
            )
        grids = [
            functional.interpolate(
                (total / count).view(-1, 1, *grid), tuple(shape), mode="bilinear"
            )
            for grid, (total, count) in self.sums.items()
        ]
        return torch.stack(grids).mean(0)


class Watch(Control):
    """Collects the maps of several words in source calls, and changes nothing."""

    def __init__(self, words: Sequence[WordMaps]):
        self.words = list(words)

    def active(self, moment: Moment, joint: bool) -> bool:
        del moment, joint
        return True

    def acts(self, layer: Layer, moment: Moment) -> bool:
        del moment
        return any(words.sees(layer) for words in self.words)

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        del v
        maps = text_maps(layer, q, k, attend)
        for words in self.words:
            if words.sees(layer):
                words.add(layer, maps)
        return []
