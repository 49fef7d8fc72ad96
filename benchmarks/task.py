"""The task of the benchmarks: drawn worlds, in whose captions one word changes.

What a perfect editor would return is known: the same world, drawn with the other word. The methods
here are the pack's nodes and the host's KSampler, with the task's prompts.
"""

from typing import NamedTuple

import torch
from comfy import sample
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io
from torch import Tensor

from ..demo.model import encode_captions, load_demo
from ..demo.training.reader import read
from ..demo.world import COLOURS, SHAPES, captions, draw_worlds, render
from ..inversion.noise_maps import NoiseMaps
from ..nodes.ddim import DDIMInvert
from ..nodes.ef_ddpm import EFDDPMInvert
from ..nodes.inverted_sampler import InvertedSampler
from .measure import psnr, ssim

SCHEDULER = "ddim_uniform"
SHOWN = 12  # worlds on a sheet of pictures


class Task(NamedTuple):
    """Pictures (worlds, 32, 32, 3) and prompts before and after; `outside` is where neither shows
    its object.
    """

    model: ModelPatcher
    vae: VAE
    source: Tensor
    ideal: Tensor
    outside: Tensor
    attribute: str
    word: Tensor
    source_prompt: list
    target_prompt: list
    empty: list

    @property
    def x_0(self) -> Tensor:
        return self.vae.encode(self.source)

    def invert(
        self,
        x_0: Tensor,
        steps: int,
        cfg: float = 1.0,
        path: str = "edit_friendly",
        seed: int = 0,
        skip: int = 0,
    ) -> NoiseMaps:
        """By EF-DDPM Invert."""
        settings = {"seed": seed, "steps": steps, "scheduler": SCHEDULER, "skip_steps": skip}
        latent, prompts = {"samples": x_0}, self.prompts(self.source_prompt, cfg)
        maps, *_ = outputs(EFDDPMInvert, **prompts, latent_image=latent, **settings, path=path)
        return maps

    def invert_ddim(
        self, steps: int, cfg: float = 1.0, scheduler: str = SCHEDULER, **advanced
    ) -> NoiseMaps:
        settings = {"steps": steps, "scheduler": scheduler, **advanced}
        latent, prompts = {"samples": self.x_0}, self.prompts(self.source_prompt, cfg)
        maps, *_ = outputs(DDIMInvert, **prompts, latent_image=latent, **settings)
        return maps

    def replay(
        self, maps: NoiseMaps, prompt: list, cfg: float = 1.0, skip: int = 0, residual: float = 1.0
    ) -> Tensor:
        """The latent by Inverted Sampler."""
        settings = {"noise_maps": maps, "skip_steps": skip, "residual": residual}
        (latent,) = outputs(InvertedSampler, **self.prompts(prompt, cfg), **settings)
        return latent["samples"]

    def sdedit(self, x: Tensor, prompt: list, steps: int, skip: int, cfg: float = 1.0) -> Tensor:
        """The latent by KSampler with `denoise`, which leaves out the first `skip` of `steps`."""
        noise, kept = sample.prepare_noise(x, 0), steps - skip
        return sample.sample(
            self.model, noise, kept, cfg, "euler", SCHEDULER, prompt, self.empty, x,
            denoise=kept / steps, disable_pbar=True, seed=0,
        )  # fmt: skip

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """How near edited pictures are to the ideal ones, what they keep of the background, and
        whether they show the new word; each (worlds,).
        """
        return {
            "ideal": psnr(images, self.ideal),
            "ssim": ssim(images, self.ideal),
            "background": psnr(images, self.source, self.outside),
            "right": (getattr(read(images), self.attribute) == self.word).double(),
        }

    def prompts(self, positive: list, cfg: float) -> dict:
        """The first inputs of a node."""
        return {"model": self.model, "positive": positive, "negative": self.empty, "cfg": cfg}


def outputs(node: type[io.ComfyNode], **inputs) -> tuple:
    """What a node of the pack gives for these inputs."""
    return node.execute(**inputs).result or ()


def word_task(worlds: int, seed: int, attribute: str = "colour") -> Task:
    """Random worlds in whose captions the word for colour or shape becomes another, at random."""
    model, clip, vae = load_demo("v")
    generator = torch.Generator().manual_seed(seed)
    before = draw_worlds(worlds, generator)
    words = len({"colour": COLOURS, "shape": SHAPES}[attribute])
    others = torch.randint(1, words, (worlds,), generator=generator)
    word = (getattr(before, attribute) + others) % words
    after = before._replace(**{attribute: word})
    (source, mask), (ideal, mask_after) = render(before), render(after)
    prompts = [encode_captions(clip, texts) for texts in (captions(before), captions(after), [""])]
    outside = (mask == 0) & (mask_after == 0)
    return Task(model, vae, source, ideal, outside, attribute, word, *prompts)
