"""What an attention control makes of the attention of two prompts.

At each step the network first sees the bundle's own latent under the source prompt (the source
call, as Direct Inversion has it: Ju et al. 2024), of which a control keeps tensors; then the edit's
latent under the target prompt (the target call), where it puts them to use.

Shapes: q, k and v are (batch, heads, tokens or places, width), maps (batch, heads, places, tokens).
In a joint layer the tokens of the text come first, then the places of the picture.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple, Self

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention by any kernel: (q, k, v) -> what each query gets."""


class Moment(NamedTuple):
    """Step `step` of a whole schedule of `steps`, those that were skipped included."""

    step: int
    steps: int

    def before(self, fraction: float) -> bool:
        """Whether less than this fraction of the schedule is done, rounded as the authors do."""
        return self.step < int(fraction * (self.steps + 1) + 1e-9)

    def within(self, span: tuple[float, float]) -> bool:
        """Whether it lies between two fractions of the schedule."""
        return not self.before(span[0]) and self.before(span[1])


class Layer(NamedTuple):
    """Where attention happens: "self" (among places), "cross" (places to text), "joint" (both among
    both), or "features" (a residual block's output, where nothing attends).

    `depth` is its place among all transformer blocks, from 0 to 1; `decoder` the part of the
    decoder that its block takes up, from 0 to 1, None elsewhere. `grid` is (height, width) of its
    places, `cells` the number of cells of the latent, `text` that of tokens: those that all places
    attend to, or that come before the places in a joint layer.
    """

    kind: str
    depth: float
    decoder: tuple[float, float] | None
    grid: tuple[int, int]
    cells: int
    text: int = 0

    def within(self, size: int) -> bool:
        """Whether it has up to `size` x `size` places, for a latent of 64 x 64 or fewer cells as
        the papers had; as many more as a larger latent has cells. All joint layers are alike.
        """
        most = size**2 * max(1.0, self.cells / 64**2)
        return self.kind == "joint" or self.grid[0] * self.grid[1] <= most


class Control:
    """A method's rules; these defaults leave everything alone.

    `guidance` is the step length of a method that changes the latent by gradient.
    """

    guidance = 0.0

    @property
    def tokens(self) -> int | None:
        """How many the target prompt must have, where the method cares."""
        return None

    def for_run(self, x: Tensor) -> Self:
        """The same control for one run over a latent like this, with its tables on its device."""
        del x
        return self

    def active(self, moment: Moment, joint: bool) -> bool:
        """Whether it does something at this step, in a network with or without joint layers."""
        raise NotImplementedError

    def acts(self, layer: Layer, moment: Moment) -> bool:
        """Whether it does something in this layer at this step."""
        raise NotImplementedError

    def keep(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> list[Tensor]:
        """What the target call needs of the source's."""
        raise NotImplementedError

    def use(
        self, layer: Layer, moment: Moment, kept: list[Tensor], qkv: list[Tensor], attend: Attend
    ) -> Tensor:
        """What the queries of the target's `qkv` get."""
        raise NotImplementedError

    def taken_loss(self) -> Tensor:
        """What the latent is to reduce by a step of `guidance`, since the last time."""
        raise NotImplementedError

    def blend(self, moment: Moment, x: Tensor, own: Tensor) -> Tensor:
        """The latent after a step, given the bundle's own there."""
        del moment, own
        return x


def attention_maps(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k / sqrt(width)) in float32."""
    return torch.softmax(q.float() @ k.float().mT / sqrt(q.shape[-1]), -1)


def text_maps(layer: Layer, q: Tensor, k: Tensor, attend: Attend) -> Tensor:
    """How much each place attends to each token of the text."""
    if layer.kind == "cross":
        return attention_maps(q, k)
    # The share of all text is what the kernel makes of values that are 1 there, so the maps among
    # places need not be held.
    is_text = torch.zeros_like(k)
    is_text[:, :, : layer.text] = 1
    share = attend(q, k, is_text)[:, :, layer.text :, :1].float()
    return attention_maps(q[:, :, layer.text :], k[:, :, : layer.text]) * share
