"""Attention Map: where an image shows a word."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..inversion.alignment import positions
from ..inversion.noise_maps import NoiseMaps
from ..inversion.word_maps import Watch, WordMaps
from ._host import latents, models, prompts, sampling, words
from ._host.messages import said, tell
from ._host.progress import Cost
from ._host.steering import AttentionControl, Steering
from .inputs import (
    CATEGORY,
    check_noise_maps,
    noise_maps_input,
    prompt_input,
    size_input,
    span_inputs,
    step_span,
)
from .operations import cell_size


class AttentionMap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintAttentionMap",
            display_name="Attention Map",
            category=CATEGORY,
            description="Finds where an inverted image shows words of its prompt, as a mask for "
            "Inverted Sampler: edit only the cat, without painting.",
            search_aliases=["cross attention map", "auto mask", "segment by word", "heat map"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input("model", tooltip="The model that the image was inverted with."),
                io.Clip.Input("clip", tooltip="The CLIP that belongs to the model."),
                prompt_input("prompt", "What the image shows."),
                noise_maps_input("The image as noise maps, from an Invert node."),
                io.String.Input(
                    "words", default="", tooltip="The words to look for, such as cat, or black cat."
                ),
                *_settings(),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask", tooltip="Where the words are seen, for a mask input."
                ),
                io.Image.Output(
                    display_name="image",
                    tooltip="How strongly each word is seen, one picture each.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, clip, prompt, noise_maps, words, **settings) -> io.NodeOutput:
        mask, maps = find_words(model, clip, prompt, noise_maps, words, **settings)
        return io.NodeOutput(mask, maps, ui=said())


def find_words(
    model,
    clip,
    prompt: str,
    noise_maps: NoiseMaps,
    names: str,
    threshold: float = 0.5,
    size: int = 16,
    first_step: int = 0,
    last_step: int = -1,
) -> tuple[Tensor, Tensor]:
    """The mask (batch, height, width), and how strongly each word is seen, as pictures (words *
    batch, height, width, 3).
    """
    check_noise_maps(noise_maps)
    models.check_fit(model, noise_maps)
    conditioning, parts = words.encode(clip, prompt, "prompt")
    asked = (names or "").replace(",", " ").split()
    if not asked:
        raise ValueError("words is empty: write a word of the prompt to look for.")
    watched = [WordMaps(positions(parts, word), size) for word in asked]
    steps = step_span(first_step, last_step, len(noise_maps.zs))
    cost = _watch(model, conditioning, noise_maps, watched, steps)
    cell = cell_size(noise_maps)
    shape = [side * cell for side in noise_maps.xs.shape[-2:]]
    maps = [word.mean(shape).cpu() for word in watched]
    seen = _stretched(torch.stack(maps).sum(0))[:, 0]
    mask = (seen > threshold).float() if threshold else seen
    tell(f"Words found: {cost}. The mask covers {mask.mean():.0%} of the picture.")
    return mask, _stretched(torch.cat(maps)).movedim(1, -1).expand(-1, -1, -1, 3)


def _stretched(maps: Tensor) -> Tensor:
    """Each map from its smallest value, as 0, to its largest, as 1."""
    least, most = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - least) / (most - least).clamp(min=1e-12)


def _watch(
    model, conditioning: list, maps: NoiseMaps, watched: list[WordMaps], steps: range
) -> Cost:
    """Shows the model the image at these steps under its prompt; returns what it cost."""
    guider = prompts.cfg_guider(model, conditioning, conditioning, 1.0)
    steering = Steering(guider, AttentionControl(Watch(watched), conditioning), maps)

    def loop(run: sampling.Run) -> Tensor:
        steering.start(run)
        own = maps.to(run.x_0)
        for done, i in enumerate(steps, 1):
            x = own.xs[i]
            steering.before(i, x, x, x.new_full(x.shape[:1], maps.schedule.sigmas[i]))
            steering.hooks.stop()
            run.on_step(done, x, x)
        return run.x_0

    picture = latents.sampled_latent(model, maps.xs[-1], 0.0)
    return steering.sample(picture, maps.schedule, loop)[1]


def _settings() -> list:
    return [
        io.Float.Input(
            "threshold",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly a word must be seen, from 0, its weakest place, to 1, its "
            "strongest. Lower makes the mask larger; 0 gives a soft mask.",
        ),
        size_input(
            "size",
            "Which layers are looked at: those of up to this many places across, for a "
            "picture of 512 pixels; larger ones count in proportion.",
        ),
        *span_inputs(
            "The first step to look at; 0 is the noisiest that the inversion kept.",
            "The last step to look at; -1 is the last of all.",
        ),
    ]
