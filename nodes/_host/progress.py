"""How far a run is, and what it cost."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from .messages import show

_PAUSE = 0.5  # seconds between two lines
_BLOCKS, _WIDTH = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", 24


class Cost(NamedTuple):
    """Model evaluations (one is a picture at one step, under all of its prompts), the calls that
    they took, the most steps in one call, and seconds.
    """

    evaluations: int
    calls: int
    steps_per_call: int
    seconds: float

    def __str__(self) -> str:
        evaluations = f"{self.evaluations} model evaluation{'s' if self.evaluations > 1 else ''}"
        calls = f"{self.calls} call{'s' if self.calls > 1 else ''}"
        shared = f" of up to {self.steps_per_call} steps" if self.steps_per_call > 1 else ""
        return f"{evaluations} in {calls}{shared}, {duration(self.seconds)}"


class Progress:
    """Counts the steps of a run of `whole` ones; `forward` gets each step for the host's progress
    bar and preview.
    """

    def __init__(self, whole: int, forward: Callable[[int, Tensor, Tensor, int], None]):
        self.whole, self.forward = whole, forward
        self.started = self.shown = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started

    def __call__(
        self, done: int, x: Tensor, denoised: Tensor, note: Callable[[], str] | None = None
    ) -> None:
        """`note` adds words to the line; it is called only when one is shown."""
        self.forward(done - 1, denoised, x, self.whole)
        now = time.monotonic()
        if now - self.shown < _PAUSE or done == self.whole:
            return
        self.shown = now
        left = duration((now - self.started) / done * (self.whole - done))
        more = "" if note is None else f", {note()}"
        show(f"Step {done} of {self.whole}, {left} left{more}")


def duration(seconds: float) -> str:
    """Seconds in words of two digits."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def curve(values: Sequence[float]) -> str:
    """Values above 0 as a row of blocks, by their logarithms."""
    count = min(_WIDTH, len(values))
    logs = [math.log(max(values[i * len(values) // count], 1e-30)) for i in range(count)]
    least, span = min(logs), max(logs) - min(logs) or 1
    return "".join(_BLOCKS[int(7.99 * (value - least) / span)] for value in logs)
