"""The demo image inverted at cfg 1, and what Null-Text Optimize and the samplers make of it."""

from functools import cached_property

import torch
from comfy import sample
from imprint_pack.benchmarks.tiny_families import FAMILIES

STEPS, CFG = 8, 3.0


class NullTextWorld:
    """`pivot` and `noisy` are what DDIM Invert gives; inputs that are not given are the demo's."""

    def __init__(self, node, demo):
        self.node, self.demo = node, demo
        self.pivot, self.noisy, _ = self.invert()

    @cached_property
    def fast(self) -> tuple:
        """What the node's defaults give."""
        with torch.inference_mode():
            return self.optimize()

    def invert(self, **inputs) -> tuple:
        given = {**self.demo.source, "latent_image": self.demo.latent, "steps": STEPS}
        return self.node("DDIMInvert", **given | inputs)

    def optimize(self, **inputs) -> tuple:
        given = {**self.demo.source, "noise_maps": self.pivot, "cfg": CFG}
        return self.node("NullTextOptimize", **given | inputs)

    def replay(self, maps, **inputs) -> torch.Tensor:
        """The paper's result: without residuals."""
        given = {**self.demo.source, "noise_maps": maps, "cfg": CFG, "residual": 0.0}
        return self.node("InvertedSampler", **given | inputs)[0]["samples"]

    def error(self, maps, **inputs) -> torch.Tensor:
        """The largest, with residuals."""
        replayed = self.replay(maps, residual=1.0, **inputs)
        return (replayed - self.demo.latent["samples"]).abs().max()

    def stock(self, model) -> torch.Tensor:
        """A picture by a stock sampler, to see whether a model is still what it was."""
        latent = torch.zeros(1, 3, 32, 32)
        prompts = self.demo.source["positive"], self.demo.source["negative"]
        noise = sample.prepare_noise(latent, 0)
        arguments = model, noise, 5, CFG, "euler", "normal", *prompts, latent
        return sample.sample(*arguments, disable_pbar=True, seed=0)

    def of_family(self, name: str, dtype: torch.dtype = torch.float32, **inputs) -> tuple:
        """Null text of an arbitrary latent by a tiny model, in two steps."""
        family = FAMILIES[name]
        positive, negative = family.prompt(1), family.prompt(2)
        wires = {"model": family.model(dtype), "positive": positive, "negative": negative}
        pivot, *_ = self.invert(**wires, latent_image=family.latent(), steps=2)
        return self.optimize(**wires, noise_maps=pivot, **inputs)
