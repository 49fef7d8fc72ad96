"""How many timesteps share a model call, and what happens when memory does not suffice."""

from collections.abc import Callable

import comfy.model_management as mm
import torch
from torch import Tensor

from . import prompts
from .messages import tell
from .progress import Cost

_MOST = 16  # more gains hardly anything, and a call cannot be interrupted
_SHARE = 0.5  # of the memory beside the model, for the host's estimate of what a call needs
# Networks that take the first row's timestep or mask for all rows, or mix them.
_UNBATCHED = {"HunyuanVideo", "NaDiT"}


def timesteps_per_call(guider, latent: Tensor, model_options: dict, asked: int, steps: int) -> int:
    """The largest number of steps in one model call: `asked`, or the automatic one where that is 0;
    1 where the host would not treat every row by its own timestep and prompt.
    """
    largest = min(asked or _automatic(guider, latent), steps)
    may_batch = largest > 1 and _may_batch(guider, model_options, len(latent))
    return largest if may_batch else 1


class BatchedDenoise:
    """`inversion.Denoise` over a guider: a call of many rows is split where memory is short.

    The size that fits is remembered; it is halved down to the rows of one timestep.
    """

    def __init__(self, predict: Callable[[Tensor, Tensor], Tensor], images: int):
        self.predict, self.images, self.largest = predict, images, 0
        self.rows = self.calls = self.most = 0

    def count(self, rows: int) -> None:
        """Counts a call of the model that was made beside this."""
        self.rows, self.calls = self.rows + rows, self.calls + 1

    def cost(self, seconds: float) -> Cost:
        """What all calls so far came to, in so much time."""
        return Cost(self.rows, self.calls, self.most // self.images, seconds)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        parts, start = [], 0
        while start < len(x):
            part = slice(start, start + (self.largest or len(x)))
            denoised = self._attempt(x[part], sigma[part])
            if denoised is not None:
                parts.append(denoised)
                start += len(denoised)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attempt(self, x: Tensor, sigma: Tensor) -> Tensor | None:
        mm.throw_exception_if_processing_interrupted()
        try:
            denoised = self.predict(x, sigma)
            self.count(len(x))
            self.most = max(self.most, len(x))
            return denoised
        except Exception as error:
            if len(x) <= self.images or not mm.is_oom(error):
                raise
        # Behind the handler, which holds the tensors of the failed call.
        mm.soft_empty_cache()
        asked = len(x) // self.images
        self.largest = asked // 2 * self.images
        tell(f"Memory does not suffice for {asked} steps in one call: going on with {asked // 2}.")
        return None


def _automatic(guider, latent: Tensor) -> int:
    """From the model and the latent, not from what is free: the same graph gives the same maps."""
    device = guider.model_patcher.load_device
    room = mm.get_total_memory(device) - guider.model_patcher.model_size()
    needed = guider.inner_model.memory_required([2 * len(latent), *latent.shape[1:]])
    return max(1, min(_MOST, int(_SHARE * room / needed)))


def _may_batch(guider, model_options: dict, rows: int) -> bool:
    """Whether the host treats every row of a batch by its own timestep and prompt.

    It reads time ranges and hooks off the first row, and repeats conditioning in turn.
    """
    if prompts.guidance(guider) is None or not _is_empty(model_options):
        return False
    if type(guider.inner_model.diffusion_model).__name__ in _UNBATCHED:
        return False
    return not any(_depends_on_row(cond, rows) for conds in guider.conds.values() for cond in conds)


def _is_empty(options: object) -> bool:
    """Whether nothing was patched in: options hold empty tables besides the schedule itself."""
    return isinstance(options, dict) and all(
        _is_empty(value) for key, value in options.items() if key != "sample_sigmas"
    )


def _depends_on_row(cond: dict, rows: int) -> bool:
    timed = ("timestep_start", "timestep_end", "clip_start_percent", "clip_end_percent")
    if any(cond.get(key) is not None for key in (*timed, "hooks", "control")):
        return True
    mask = cond.get("mask")
    if mask is not None and mask.shape[0] > 1:
        return True
    values = [getattr(value, "cond", None) for value in cond["model_conds"].values()]
    tensors = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return any(isinstance(t, Tensor) and t.ndim and t.shape[0] not in (1, rows) for t in tensors)
