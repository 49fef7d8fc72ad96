"""Prompt-to-Prompt (Hertz et al. 2023): the target's words attend where the source's did.

Shapes are those of `attention`.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from .attention import Attend, Control, Layer, Moment, text_maps
from .word_maps import WordMaps

_BLEND_FROM = 0.2  # of the schedule: before, maps say little about where things are


@dataclass(frozen=True)
class PromptToPrompt(Control):
    """The rules for two prompts.

    `mapper` and `found` come from `alignment`; `weights` (target tokens,) and `spans` are each
    token's weight and the fractions of the schedule between which it uses the source's map.
    Until `self_replace` also the attention among places is the source's, in layers within
    `self_size`. `words` restricts the edit to where they are seen.
    """

    mapper: Tensor
    found: Tensor
    weights: Tensor
    spans: tuple[tuple[float, float], ...]
    self_replace: float
    self_size: int
    words: "BlendWords | None" = None

    @property
    def tokens(self) -> int:
        return len(self.found)

    def for_run(self, x: Tensor) -> Self:
        moved = {name: getattr(self, name).to(x.device) for name in ("mapper", "found", "weights")}
        return replace(self, words=self.words and self.words.for_run(), **moved)

    def active(self, moment: Moment, joint: bool) -> bool:
        return (
            self.words is not None
            or self._any_used(moment)
            or (not joint and moment.before(self.self_replace))
        )

    def acts(self, layer: Layer, moment: Moment) -> bool:
        if layer.kind == "self":
            return layer.within(self.self_size) and moment.before(self.self_replace)
        if layer.kind == "features":
            return False
        return self._sees(layer) is not None or self._any_used(moment)

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        if layer.kind == "self":
            return [q, k]
        maps = text_maps(layer, q, k, attend)
        words = self._sees(layer)
        if words:
            words.source.add(layer, maps)
        # Beside a longer prompt the host repeats a shorter one.
        repeated = maps[..., : layer.text].reshape(*maps.shape[:3], -1, len(self.mapper))
        return [(repeated.sum(3) @ self.mapper).to(q)]

    def use(
        self, layer: Layer, moment: Moment, kept: list[Tensor], qkv: list[Tensor], attend: Attend
    ) -> Tensor:
        q, k, v = qkv
        if layer.kind == "self":
            return attend(kept[0], kept[1], v)
        own = text_maps(layer, q, k, attend)
        maps = torch.cat(
            [self.mixed(moment, kept[0], own[..., : layer.text]), own[..., layer.text :]], -1
        )
        words = self._sees(layer)
        if words:
            words.target.add(layer, maps)
        if layer.kind == "cross":
            return (maps @ v.float()).to(v)
        out = attend(q, k, v)
        change = (maps - own) @ v[:, :, : layer.text].float()
        return torch.cat([out[:, :, : layer.text], out[:, :, layer.text :] + change.to(out)], dim=2)

    def mixed(self, moment: Moment, mapped: Tensor, own: Tensor) -> Tensor:
        """The target's maps, given its own and the source's `mapped` to its tokens."""
        times = own.shape[-1] // len(self.found)
        found, weights, spans = (
            row.to(own).repeat(times) for row in (self.found, self.weights, self.used(moment))
        )
        mapped = mapped.repeat(1, 1, 1, times) / times
        new = (mapped * found + own * (1 - found)) * weights
        return new * spans + own * (1 - spans)

    def blend(self, moment: Moment, x: Tensor, own: Tensor) -> Tensor:
        return x if self.words is None else self.words.blend(moment, x, own)

    def used(self, moment: Moment) -> Tensor:
        """1 for the target tokens that use the source's maps at this moment, (target tokens,)."""
        return torch.tensor([moment.within(span) for span in self.spans], dtype=torch.float32)

    def _any_used(self, moment: Moment) -> bool:
        return any(moment.within(span) for span in set(self.spans))

    def _sees(self, layer: Layer) -> "BlendWords | None":
        """The words that the edit is restricted to, where this layer shows them."""
        return self.words if self.words is not None and self.words.source.sees(layer) else None


@dataclass(frozen=True)
class BlendWords:
    """The edit is restricted to where words of either prompt are seen: a place counts whose map,
    of which the largest value is 1, exceeds `threshold`. The words are `source` and `target`.
    """

    source: WordMaps
    target: WordMaps
    threshold: float

    def for_run(self) -> "BlendWords":
        return BlendWords(self.source.empty(), self.target.empty(), self.threshold)

    def blend(self, moment: Moment, x: Tensor, own: Tensor) -> Tensor:
        if moment.before(_BLEND_FROM):
            return x
        seen = self._seen(self.source, x) | self._seen(self.target, x)
        return torch.where(seen, x, own)

    def _seen(self, words: WordMaps, x: Tensor) -> Tensor:
        # The largest value around each place, so that a thing's edge counts as the thing.
        maps = functional.max_pool2d(words.mean(x.shape[-2:]), 3, 1, 1)
        return maps > self.threshold * maps.amax((-2, -1), keepdim=True)
