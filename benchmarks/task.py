"""The task of the benchmarks: drawn worlds of two things, in whose captions something changes.

What a perfect editor would return is known: the same world, drawn with the other words. The methods
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
from ..demo.tasks import EditTasks, edit_tasks
from ..demo.training.reader import Reading, hits, read
from ..demo.world import captions, centres
from ..inversion.noise_maps import NoiseMaps
from ..nodes.ddim import DDIMInvert
from ..nodes.ef_ddpm import EFDDPMInvert
from ..nodes.inverted_sampler import InvertedSampler
from .measure import psnr, ssim

SCHEDULER = "ddim_uniform"
SHOWN = 12  # worlds on a sheet of pictures


class Task(NamedTuple):
    """Edits of drawn worlds, with what a model needs to make them."""

    model: ModelPatcher
    vae: VAE
    edits: EditTasks
    source_prompt: list
    target_prompt: list
    empty: list

    @property
    def source(self) -> Tensor:
        """Pictures before the edit (worlds, 32, 32, 3)."""
        return self.edits.source_image

    @property
    def ideal(self) -> Tensor:
        """Pictures that a perfect editor would return."""
        return self.edits.ideal_image

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
        **more,
    ) -> NoiseMaps:
        """By EF-DDPM Invert."""
        settings = {
            "seed": seed,
            "steps": steps,
            "scheduler": SCHEDULER,
            "skip_steps": skip,
            **more,
        }
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
        self, maps: NoiseMaps, prompt: list, cfg: float = 1.0, skip: int = 0, **advanced
    ) -> Tensor:
        """The latent by Inverted Sampler."""
        settings = {"noise_maps": maps, "skip_steps": skip, **advanced}
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
        """How near edited pictures are to the ideal ones, what they keep where nothing may change,
        and which words the reader finds at the places of the things; each (worlds,).
        """
        return {
            "ideal": psnr(images, self.ideal),
            "ssim": ssim(images, self.ideal),
            "background": psnr(images, self.source, 1 - self.edits.may_change),
            **self.words(read(images, centres(self.edits.target))),
        }

    def words(self, seen: Reading) -> dict[str, Tensor]:
        """Whether the words that were asked for are seen, and the others kept: those of the other
        thing, of the ground, and all; each (worlds,).
        """
        source, target = self.edits.source, self.edits.target
        found, ground = hits(seen, target), seen.ground == target.ground
        pairs = zip(source[:4], target[:4], strict=True)
        asked = torch.stack([before != after for before, after in pairs], -1)
        asked |= asked[..., 3:]  # a thing that comes must be the one that was named
        new_ground = source.ground != target.ground
        return {
            "right": (found | ~asked).all((1, 2)) & (ground | ~new_ground),
            "other": (found.all(2) | self.edits.edited).all(1),
            "ground": ground | new_ground,
            "kept": (found | asked).all((1, 2)) & (ground | new_ground),
        }

    def prompts(self, positive: list, cfg: float) -> dict:
        """The first inputs of a node."""
        return {"model": self.model, "positive": positive, "negative": self.empty, "cfg": cfg}


def outputs(node: type[io.ComfyNode], **inputs) -> tuple:
    """What a node of the pack gives for these inputs."""
    return node.execute(**inputs).result or ()


def edit_task(kind: str, worlds: int, seed: int) -> Task:
    """Random edits of one kind, see `demo.tasks`."""
    model, clip, vae = load_demo("v")
    edits = edit_tasks(kind, worlds, torch.Generator().manual_seed(seed))
    source, target, empty = captions(edits.source), captions(edits.target), [""]
    prompts = [encode_captions(clip, texts) for texts in (source, target, empty)]
    return Task(model, vae, edits, *prompts)
