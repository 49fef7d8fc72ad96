"""The bundle of noise maps: a picture, and everything a replay must know, in one immutable value.

Invariant, for edited bundles too: xs[i + 1] = mean(xs[i], denoised_i) + scale_i zs[i] (see
`schedule.Step`), so the model's x_0 at each step, the paper's P(f_t(x_t)), can be recovered without
the model, and `xs[-1]` is the bundle's own picture. Latents are in model space, on the CPU,
contiguous, float32.
"""

from typing import Any, NamedTuple

from torch import Tensor

from .anchoring import FLOAT32
from .schedule import Schedule

Info = dict[str, str | float | int | list[str]]


class _Fields(NamedTuple):
    xs: Tensor
    zs: Tensor
    schedule: Schedule
    skipped: int
    latent_format: str
    cfg: float | None
    unit_roundoff: float
    info: Info
    uncond: Tensor | None
    uncond_pooled: Tensor | None


class NoiseMaps(_Fields):
    """xs (steps + 1, batch, channels, *spatial) and zs (steps, batch, channels, *spatial); `zs[i]`
    belongs to the i-th step of `schedule`.

    `skipped` counts the steps that were cut off before the first level. `latent_format` and `cfg`
    are those of the inversion, `cfg` None where no one number describes its guider, `unit_roundoff`
    is the largest relative error of one rounding in the arithmetic of its network. `uncond`
    (steps, batch, tokens, width) and `uncond_pooled` (batch, width) are the unconditional
    embeddings to replay with, where an optimisation stored them. `info` only describes.

    ValueError unless shapes and schedule agree, every value is finite and the unit roundoff lies
    between 0 and 1.
    """

    __slots__ = ()

    def __new__(
        cls,
        xs: Tensor,
        zs: Tensor,
        schedule: Schedule,
        *,
        skipped: int = 0,
        latent_format: str = "unknown",
        cfg: float | None = None,
        unit_roundoff: float = FLOAT32,
        info: Info | None = None,
        uncond: Tensor | None = None,
        uncond_pooled: Tensor | None = None,
    ) -> "NoiseMaps":
        fields = skipped, latent_format, cfg, unit_roundoff, info or {}, uncond, uncond_pooled
        maps = super().__new__(cls, xs, zs, schedule, *fields)
        maps._check_shapes()
        maps._check_values()
        return maps

    def __reduce__(self) -> tuple[Any, ...]:
        return NoiseMaps._make, (tuple(self),)  # for copies and other processes

    def replace(self, **changes: Any) -> "NoiseMaps":
        """The bundle with other fields, checked like every new one; `_replace` would not check."""
        return NoiseMaps(**{**self._asdict(), **changes})

    def with_info(self, **info: str | float | int | list[str]) -> "NoiseMaps":
        """The same noise maps, described by more."""
        fields = {**self._asdict(), "info": {**self.info, **info}}
        return self._make(fields.values())  # nothing to check anew

    def repeated(self, images: int) -> "NoiseMaps":
        """The noise maps of one image as often as `images` says, for as many edits of it."""
        copies = {
            name: values.repeat_interleave(images, 1)
            for name, values in (("xs", self.xs), ("zs", self.zs))
        }
        return self._make({**self._asdict(), **copies}.values())

    def to(self, like: Tensor) -> "NoiseMaps":
        """The same noise maps on the device and in the precision of a tensor, for a loop."""
        moved = {"xs": self.xs.to(like), "zs": self.zs.to(like)}
        return self._make({**self._asdict(), **moved}.values())  # no check, which waits

    def _check_shapes(self) -> None:
        steps = len(self.schedule.steps)
        for values in (self.xs, self.zs):
            if not values.is_floating_point() or not values.numel():
                raise ValueError(
                    "The noise maps are empty or hold no decimal numbers "
                    f"({values.numel()} values of {values.dtype}): invert the image again."
                )
        if (
            self.xs.ndim < 4
            or self.xs.shape[0] != steps + 1
            or self.zs.shape != (steps, *self.xs.shape[1:])
        ):
            raise ValueError(
                f"The noise maps hold latents {tuple(self.xs.shape)} and maps "
                f"{tuple(self.zs.shape)} for {steps} steps, which do not belong together: invert "
                "the image again."
            )

    def _check_values(self) -> None:
        if not 0 < self.unit_roundoff < 1:
            raise ValueError(
                f"The noise maps' unit roundoff is {self.unit_roundoff:g}, but no precision rounds "
                "by that: invert the image again."
            )
        uncond, steps = self.uncond, len(self.zs)
        if uncond is not None and (
            uncond.ndim != 4
            or uncond.shape[0] != steps
            or not uncond.numel()
            or not uncond.isfinite().all()
        ):
            raise ValueError(
                f"The noise maps' null text {tuple(uncond.shape)} does not hold one embedding for "
                f"each of {steps} steps, or holds NaN: run Null-Text Optimize again."
            )
        pooled = self.uncond_pooled
        if pooled is not None and (pooled.ndim != 2 or not pooled.isfinite().all()):
            raise ValueError(
                f"The noise maps' pooled null text {tuple(pooled.shape)} does not hold one vector "
                "for each image, or holds NaN: run Null-Text Optimize again."
            )
        for name, values in (("maps", self.zs), ("latents", self.xs)):
            # One by one, as the test takes as much memory as what it tests.
            for i, value in enumerate(values):
                if not value.isfinite().all():
                    raise ValueError(
                        f"The noise maps hold NaN or infinite values at step {i} of the {name} "
                        f"(sigma {self.schedule.sigmas[i]:.3g}): invert with a float32 model, or "
                        "with a lower cfg."
                    )
