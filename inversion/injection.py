"""Controls that put tensors of the source call into the target call.

Shapes are those of `attention`.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from .attention import Attend, Control, Layer, Moment

_DECODER = 1 / 3  # of the decoder: number 4 of Stable Diffusion's blocks 0 to 11


@dataclass(frozen=True)
class PlugAndPlay(Control):
    """Tumanyan et al. 2023: the features of one residual block of the decoder until the fraction
    `features` of the schedule, and where places attend to (q, k) from that block on until
    `self_attention`. In joint layers, whose attention also reads the text, the values of the places
    (as DirectEdit has it: Yang and Ye 2026).
    """

    features: float
    self_attention: float

    def active(self, moment: Moment, joint: bool) -> bool:
        features = 0.0 if joint else self.features
        return moment.before(max(features, self.self_attention))

    def acts(self, layer: Layer, moment: Moment) -> bool:
        if layer.kind == "joint":
            return moment.before(self.self_attention)
        if layer.decoder is None:
            return False
        first, last = layer.decoder
        if layer.kind == "features":
            return first <= _DECODER < last and moment.before(self.features)
        return layer.kind == "self" and first >= _DECODER and moment.before(self.self_attention)

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        del attend
        return [v[:, :, layer.text :]] if layer.kind == "joint" else [q, k]

    def use(
        self, layer: Layer, moment: Moment, kept: list[Tensor], qkv: list[Tensor], attend: Attend
    ) -> Tensor:
        del moment
        q, k, v = qkv
        if layer.kind == "joint":
            return attend(q, k, torch.cat([v[:, :, : layer.text], kept[0]], dim=2))
        return attend(kept[0], kept[1], v)


@dataclass(frozen=True)
class MasaCtrl(Control):
    """Cao et al. 2023: from `first_step` and `first_layer` on, fractions of the schedule and of the
    network's depth, the target's places look at the source's (k, v). With `mask` (batch or 1, 1,
    height, width), those inside look inside, and those outside look outside.
    """

    first_step: float
    first_layer: float
    mask: Tensor | None = None

    def for_run(self, x: Tensor) -> Self:
        if self.mask is None:
            return self
        rows = torch.arange(len(x)) % len(self.mask)
        return replace(self, mask=self.mask[rows].to(x.device))

    def active(self, moment: Moment, joint: bool) -> bool:
        del joint
        return not moment.before(self.first_step) and self.first_layer < 1

    def acts(self, layer: Layer, moment: Moment) -> bool:
        del moment
        return layer.kind in ("self", "joint") and layer.depth >= self.first_layer

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        del q, attend
        return [k[:, :, layer.text :], v[:, :, layer.text :]]

    def use(
        self, layer: Layer, moment: Moment, kept: list[Tensor], qkv: list[Tensor], attend: Attend
    ) -> Tensor:
        del moment
        q, k, v = qkv
        k = torch.cat([k[:, :, : layer.text], kept[0]], dim=2)
        v = torch.cat([v[:, :, : layer.text], kept[1]], dim=2)
        return attend(q, k, v) if self.mask is None else self._apart(layer, q, k, v)

    def _apart(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert self.mask is not None
        inside = functional.adaptive_max_pool2d(self.mask, layer.grid).flatten(1) > 0.5
        side = functional.pad(inside, (layer.text, 0)).expand(len(q), -1)
        is_text = torch.arange(side.shape[1], device=side.device) < layer.text
        same = side[:, :, None] == side[:, None, :]
        looks = (same | is_text[:, None] | is_text[None, :])[:, None]
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=looks)
