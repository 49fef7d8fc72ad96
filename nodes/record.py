"""DDPM Sample and Record: a new image together with the noise maps that made it."""

import torch
from comfy_api.latest import io

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import recorded_path
from ._host import latents, models, prompts, sampling
from ._host.messages import said, tell
from .inputs import (
    CATEGORY,
    NoiseMapsType,
    cfg_input,
    check_noisy,
    eta_input,
    model_inputs,
    scheduler_input,
    seed_input,
    seeded_noise,
    steps_input,
)


class RecordDDPM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintRecordDDPM",
            display_name="DDPM Sample and Record",
            category=CATEGORY,
            description="Samples a new image by DDPM and records its true noise maps, to compare "
            "with inverted ones or to edit.",
            search_aliases=["ancestral", "generate", "native noise maps", "recorded"],
            has_intermediate_output=True,
            inputs=[
                *model_inputs(
                    "What the image should show.", "What it should not show. Not used at cfg 1."
                ),
                _size_input(),
                seed_input(True, "Chooses the random noise. Another seed gives another image."),
                steps_input(100),
                cfg_input(7.5, "Guidance: higher follows the prompt more."),
                scheduler_input(),
                eta_input(),
            ],
            outputs=[
                NoiseMapsType.Output(
                    display_name="noise_maps",
                    tooltip="The maps that the image was made from, for Inverted Sampler or Noise "
                    "Map Edit.",
                ),
                io.Latent.Output(display_name="latent", tooltip="The image, for VAE Decode."),
            ],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, seed, steps, cfg, scheduler, eta=1.0
    ) -> io.NodeOutput:
        guider = prompts.cfg_guider(model, positive, negative, cfg)
        sigmas = models.model_sigmas(model, scheduler, steps)
        maps = record(guider, sigmas, latent_image, seed, eta)
        samples = latents.sampled_latent(model, maps.xs[-1], maps.schedule.sigmas[-1])
        maps = maps.with_info(scheduler=scheduler)
        return io.NodeOutput(maps, {"samples": samples}, ui=said())


def record(guider, sigmas, latent_image, seed, eta) -> NoiseMaps:
    """The bundle of a new image of the latent's size."""
    check_noisy(eta)
    schedule = models.schedule_of(guider.model_patcher, sigmas, eta)
    size = latents.fitting_latent(guider.model_patcher, latent_image)
    noise = seeded_noise(latent_image, size, len(schedule.steps), seed)

    def loop(run: sampling.Run):
        return recorded_path(run.denoise, schedule, noise.to(run.x_0), run.on_step)

    empty = torch.zeros_like(size, dtype=torch.float32)
    (xs, zs), cost = sampling.run(guider, empty, schedule, loop)
    tell(f"Sampled: {cost}.")
    described = sampling.describe(guider, method="recorded", seed=seed)
    return NoiseMaps(xs.cpu(), zs.cpu(), schedule, **described)


def _size_input() -> io.Latent.Input:
    return io.Latent.Input(
        "latent_image",
        tooltip="Gives the size and the number of images: an empty latent, or any of that size. "
        "What it shows is not used.",
    )
