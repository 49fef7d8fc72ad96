"""The cross-attention guidance of pix2pix-zero (Parmar et al. 2023).

Before each step the latent moves against the gradient of how much its cross-attention under the
target prompt differs from the source's. The step is taken in x_0 + sigma n; the authors' latent is
smaller by sqrt(1 + sigma^2). Shapes are those of `attention`.
"""

import torch
from torch import Tensor

from .attention import Attend, Control, Layer, Moment, text_maps


class CrossGuidance(Control):
    """`guidance` is the step length. `loss` adds up squared differences over the layers of a call:
    summed over places and tokens, the mean over heads.
    """

    def __init__(self, guidance: float):
        self.guidance = guidance
        self.loss = torch.zeros(())

    def for_run(self, x: Tensor) -> "CrossGuidance":
        del x
        return CrossGuidance(self.guidance)

    def active(self, moment: Moment, joint: bool) -> bool:
        del moment, joint
        return self.guidance > 0

    def acts(self, layer: Layer, moment: Moment) -> bool:
        del moment
        return layer.kind in ("cross", "joint")

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        del v
        return [text_maps(layer, q, k, attend)]

    def use(
        self, layer: Layer, moment: Moment, kept: list[Tensor], qkv: list[Tensor], attend: Attend
    ) -> Tensor:
        del moment
        q, k, v = qkv
        difference = text_maps(layer, q, k, attend) - kept[0]
        self.loss = self.loss + difference.square().sum((2, 3)).mean(1).sum()
        return attend(q, k, v)

    def taken_loss(self) -> Tensor:
        loss, self.loss = self.loss, torch.zeros(())
        return loss
